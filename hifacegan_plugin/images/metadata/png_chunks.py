"""Read and change the chunks of PNG files (PNG specification, section 5).

OpenCV 5.0 crashes on an animated PNG with an empty ``fdAT`` chunk. So :func:`still_png` removes every chunk that its
animation decoder reads before OpenCV gets the file.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import NamedTuple

from hifacegan_plugin.images.image_error import SEVERAL_IMAGES, ImageError

SIGNATURE = b'\x89PNG\r\n\x1a\n'
ANIMATION_CHUNKS = (b'acTL', b'fcTL', b'fdAT')

# The chunks that a still image keeps besides the critical ones, and their required length (None: any).
_STILL_CHUNKS = {
    b'tRNS': None, b'cICP': 4, b'iCCP': None, b'sRGB': 1, b'gAMA': 4, b'cHRM': 32, b'mDCV': 24, b'cLLI': 8, b'pHYs': 9,
    b'eXIf': None,
}  # fmt: skip
_TEXTS_WITH_ORIENTATION = (b'Raw profile type exif\0', b'XML:com.adobe.xmp\0')


class Chunk(NamedTuple):
    """A PNG chunk; ``stored`` holds all its bytes, from the length field to the checksum."""

    kind: bytes
    stored: memoryview

    @property
    def content(self) -> bytes:
        """The data field of the chunk."""
        return bytes(self.stored[8:-4])

    @property
    def is_damaged(self) -> bool:
        """Whether the checksum is wrong."""
        return zlib.crc32(self.stored[4:-4]) != int.from_bytes(self.stored[-4:], 'big')


def read_chunks(data: bytes) -> Iterator[Chunk]:
    """Yield the chunks of a PNG up to its end chunk.

    Raises:
        ImageError: it is truncated.
    """
    view, end, kind = memoryview(data), len(SIGNATURE), b''
    while kind != b'IEND':
        start, kind = end, data[end + 4 : end + 8]
        end = start + 12 + int.from_bytes(data[start : start + 4], 'big')
        if end > len(data):
            raise ImageError('is damaged or truncated (a PNG without an end chunk)')
        yield Chunk(kind, view[start:end])


def still_png(data: bytes) -> bytes:
    """Return a PNG as a still image, with all metadata before the pixels; unchanged if it already is one.

    Raises:
        ImageError: it is truncated, animated or has no pixels.
    """
    chunks = list(read_chunks(data))
    if _is_animated(chunks):
        raise ImageError(SEVERAL_IMAGES)
    order = {b'IDAT': 1, b'IEND': 2}
    kept = sorted(filter(_belongs_to_still, chunks), key=lambda chunk: order.get(chunk.kind, 0))
    return data if kept == chunks else SIGNATURE + b''.join(chunk.stored for chunk in kept)


def check_checksums(data: bytes) -> None:
    """Check the checksums of all chunks of a PNG, which decoders may ignore.

    Raises:
        ImageError: one is wrong.
    """
    for chunk in read_chunks(data):
        if chunk.is_damaged:
            raise ImageError(f'is damaged (wrong checksum in the PNG chunk {chunk.kind.decode("latin-1")})')


def add_chunk(data: bytes, kind: bytes, content: bytes) -> bytes:
    """Insert a chunk into a PNG, directly after the header."""
    length, checksum = (number.to_bytes(4, 'big') for number in (len(content), zlib.crc32(kind + content)))
    after_header = len(SIGNATURE) + 25
    return data[:after_header] + length + kind + content + checksum + data[after_header:]


def _is_animated(chunks: list[Chunk]) -> bool:
    """Return whether a PNG is animated (PNG specification, section 4.9).

    Raises:
        ImageError: it has no pixels.
    """
    kinds = [chunk.kind for chunk in chunks]
    if b'IDAT' not in kinds:
        raise ImageError('is damaged or truncated (a PNG without pixels)')
    if b'acTL' not in kinds:
        return False
    # A single frame that is the still image is not an animation.
    still_is_a_frame = b'fcTL' in kinds[: kinds.index(b'IDAT')]
    frames = int.from_bytes(chunks[kinds.index(b'acTL')].content[:4], 'big')
    return frames > 1 or not still_is_a_frame


def _belongs_to_still(chunk: Chunk) -> bool:
    is_critical = chunk.kind[:1].isupper()
    if is_critical:
        return True
    if chunk.kind in _STILL_CHUNKS:
        return _STILL_CHUNKS[chunk.kind] in (None, len(chunk.content))
    return chunk.content.startswith(_TEXTS_WITH_ORIENTATION)
