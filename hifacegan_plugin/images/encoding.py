"""Encode a photograph with its metadata, in one of the formats for results."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from PIL import ExifTags, Image, features

from hifacegan_plugin.images.metadata import iptc
from hifacegan_plugin.images.metadata.exif import with_size
from hifacegan_plugin.images.metadata.png_chunks import add_chunk
from hifacegan_plugin.images.opening import READS_HEIF
from hifacegan_plugin.images.photograph import Photograph

AVIF = ('.avif',) if features.check('avif') else ()
HEIF = ('.heic', '.heif') if READS_HEIF else ()
WRITABLE = ('.png', '.jpg', '.jpeg', '.webp', '.bmp', '.tif', '.tiff', *AVIF, *HEIF)
HOLDS_16_BITS = ('.png', '.tif', '.tiff')
HOLDS_ALPHA = ('.png', '.webp', '.tif', '.tiff', *AVIF, *HEIF)
HOLDS_IPTC = ('.jpg', '.jpeg', '.tif', '.tiff')
LARGEST_IN_JPEG = 65_000  # bytes of EXIF, XMP or IPTC data; each must fit into one segment with its name
# Settings of the lossy formats: high quality, no chroma subsampling.
LOSSY: dict[str, dict[str, Any]] = {
    'JPEG': {'quality': 95, 'subsampling': 0},
    'WEBP': {'quality': 95},
    'AVIF': {'quality': 95, 'subsampling': '4:4:4'},
    'HEIF': {'quality': 95, 'chroma': 444},
}
XMP_IN_PNG = b'XML:com.adobe.xmp\0\0\0\0\0'  # keyword, not compressed, no language (XMP specification, part 3)


def encode(suffix: str, photograph: Photograph) -> bytes:
    """Encode a photograph with its metadata, as far as the format holds them.

    Args:
        suffix: of :data:`WRITABLE`.
        photograph: with a bit depth and channels that the format supports.

    Raises:
        Exception: of the encoders' own classes.
    """
    if photograph.exif:
        height, width = photograph.pixels.shape[:2]
        photograph = replace(photograph, exif=with_size(photograph.exif, width, height))
    data = (_encode_16_bits if photograph.pixels.dtype == np.uint16 else _encode_8_bits)(suffix, photograph)
    if suffix == '.png':
        chunks = photograph.colour_chunks | ({b'iTXt': XMP_IN_PNG + photograph.xmp} if photograph.xmp else {})
        for name, content in chunks.items():
            data = add_chunk(data, name, content)
    return data


def _encode_8_bits(suffix: str, photograph: Photograph) -> bytes:
    file_format = Image.registered_extensions()[suffix]
    options = dict(LOSSY.get(file_format, {}))
    for name, value in (('icc_profile', photograph.icc_profile), ('dpi', photograph.dpi), ('xmp', photograph.xmp)):
        if value:
            options[name] = value
    if file_format == 'TIFF':
        options['exif'] = _tags_of_a_tiff(photograph)
    elif photograph.exif and suffix != '.bmp':
        options['exif'] = photograph.exif
    if file_format == 'JPEG' and photograph.iptc:
        options['extra'] = iptc.jpeg_segment(photograph.iptc)
    if suffix == '.png':
        options['compress_level'] = 3  # a third of the time for a few per cent of the size
    file = io.BytesIO()
    Image.fromarray(photograph.pixels).save(file, file_format, **options)
    return file.getvalue()


def _tags_of_a_tiff(photograph: Photograph) -> Image.Exif:
    """Return EXIF, XMP and IPTC data, which a TIFF holds as tags."""
    exif = Image.Exif()
    if photograph.exif:
        exif.load(photograph.exif)
    for tag, value in ((ExifTags.Base.XMLPacket, photograph.xmp), (iptc.TIFF_TAG, photograph.iptc)):
        if value:
            exif[tag] = value
    return exif


def _encode_16_bits(suffix: str, photograph: Photograph) -> bytes:
    """Encode with OpenCV, because Pillow cannot, and add the metadata that OpenCV does not write."""
    pixels = photograph.pixels
    if pixels.ndim == 3:
        if pixels.shape[2] == 2:
            pixels = pixels[..., [0, 0, 0, 1]]
        pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR if pixels.shape[2] == 3 else cv2.COLOR_RGBA2BGRA)
    settings = []
    if photograph.dpi and suffix != '.png':
        across, down = map(round, photograph.dpi)
        settings = [cv2.IMWRITE_TIFF_RESUNIT, 2, cv2.IMWRITE_TIFF_XDPI, across, cv2.IMWRITE_TIFF_YDPI, down]
    encoded, buffer = cv2.imencode(suffix, pixels, settings)
    if not encoded:
        raise ValueError('OpenCV refuses')
    data = buffer.tobytes()
    if suffix == '.png':
        if photograph.exif:
            data = add_chunk(data, b'eXIf', photograph.exif.removeprefix(b'Exif\0\0'))
        if photograph.icc_profile:
            data = add_chunk(data, b'iCCP', b'ICC profile\0\0' + zlib.compress(photograph.icc_profile))
        if photograph.dpi:
            a_metre = [round(side / 0.0254) for side in photograph.dpi]
            data = add_chunk(data, b'pHYs', struct.pack('>IIB', *a_metre, 1))
    else:
        tags = {
            ExifTags.Base.XMLPacket: photograph.xmp,
            iptc.TIFF_TAG: photograph.iptc,
            ExifTags.Base.InterColorProfile: photograph.icc_profile,
        }
        for tag, content in tags.items():
            if content:
                data = _add_tiff_tag(data, tag, content)
    return data


def _add_tiff_tag(data: bytes, tag: int, content: bytes) -> bytes:
    """Add a tag of type UNDEFINED to a little-endian TIFF, by a new directory at the end (TIFF 6.0, section 2)."""
    (directory,) = struct.unpack_from('<I', data, 4)
    (count,) = struct.unpack_from('<H', data, directory)
    entries = [data[start : start + 12] for start in range(directory + 2, directory + 2 + 12 * count, 12)]
    data += bytes(len(data) % 2) + content
    entries.append(struct.pack('<HHII', tag, 7, len(content), len(data) - len(content)))
    entries.sort(key=lambda entry: struct.unpack_from('<H', entry))
    data += bytes(len(data) % 2)
    entries.insert(0, struct.pack('<H', count + 1))
    return data[:4] + struct.pack('<I', len(data)) + data[8:] + b''.join(entries) + bytes(4)
