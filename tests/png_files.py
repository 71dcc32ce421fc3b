"""Build PNG files chunk by chunk, for tests."""

import struct
import zlib


def chunk(kind: bytes, content: bytes = b'') -> bytes:
    """Return a chunk (PNG specification, section 5.3)."""
    return struct.pack('>I', len(content)) + kind + content + struct.pack('>I', zlib.crc32(kind + content))


def png_bomb(width: int, height: int) -> bytes:
    """Return a small file whose header claims a large image, which must not be decoded."""
    header = chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0))
    return b'\x89PNG\r\n\x1a\n' + header + chunk(b'IDAT', zlib.compress(bytes(10**6))) + chunk(b'IEND')
