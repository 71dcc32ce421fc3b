"""Checks, decodes and encodes single pictures, for the scripts of this folder.

Pictures are arrays as OpenCV gives them: uint8 or uint16, `(H, W)` grey or `(H, W, 3)` in BGR order.
"""

from __future__ import annotations

import math
import stat
import warnings
import zlib
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from hifacegan_plugin.images import decoding as image_decoding
from hifacegan_plugin.images.decoding import (
    MAX_PIXELS,
    ImageError,
    as_8_bit_bgr,
    open_image,
    png_chunks,
    without_alpha,
)

# What is wrong with a picture is reported under its name; the codecs' own lines would only tear the progress bar.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
warnings.filterwarnings('ignore', module='PIL')

_CHANNELS = {'1': 1, 'L': 1, 'I': 1, 'I;16': 1, 'I;16B': 1, 'F': 1, 'LA': 4, 'PA': 4, 'RGBA': 4}


class Header(NamedTuple):
    """What a picture's first bytes say of it."""

    format: str
    """Pillow's name of the format: `PNG`, `JPEG`, `WEBP`, ..."""
    shape: tuple[int, int, int]
    """Height, width and channels; of PNG, JPEG and WebP as `cv2.IMREAD_UNCHANGED` decodes them."""
    copyable: bool
    """Its bytes may be stored as they are: every OpenCV reads them, and all readers see the same."""


def read_bytes(path: Path, max_pixels: int = MAX_PIXELS) -> bytes:
    """Read a picture file.

    Raises:
        ImageError: It is no regular file, larger than `max_pixels` would be uncompressed, or cannot be read.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # reading a pipe would wait for ever
            raise ImageError('no regular file')
        if status.st_size > 8 * max_pixels:  # four channels of 16 bits
            raise ImageError(f'{status.st_size:,} bytes: more than {max_pixels:,} pixels can take')
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f'cannot be read: {error.strerror}') from error


def inspect(data: bytes, max_pixels: int = MAX_PIXELS) -> Header:
    """Read the header of an encoded picture and check its structure; of a PNG all checksums, too.

    Raises:
        ImageError: No picture, one of more than `max_pixels` pixels, animated, or damaged.
    """
    image = open_image(data, max_pixels)
    if image.format == 'PNG':
        _check_png(data)
    header = image.header
    channels = _CHANNELS.get(header.mode, 3)
    if channels == 3 and 'transparency' in header.info:
        channels = 4
    return Header(image.format, (header.height, header.width, channels), image.standard)


def _check_png(data: bytes) -> None:
    """Compare the checksum of each chunk of a PNG (PNG specification, section 5.3)."""
    view = memoryview(data)
    for kind, start, end in png_chunks(data):
        if zlib.crc32(view[start + 4:end - 4]) != int.from_bytes(view[end - 4:end], 'big'):
            raise ImageError(f'is damaged (wrong checksum in the PNG chunk {kind.decode("latin-1")})')


def decode(data: bytes, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Decode a picture, upright, with the depth it has and without alpha.

    Returns:
        `(H, W)` or `(H, W, 3)` BGR; uint8 or uint16, over the full range of the type.

    Raises:
        ImageError: It cannot be decoded, or holds other numbers than these.
    """
    return without_alpha(image_decoding.decode(open_image(data, max_pixels)))


def decode_8_bit_bgr(data: bytes, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Decode a picture as the data sets do: `(H, W, 3)` BGR, uint8.

    Raises:
        ImageError: As `decode`.
    """
    return as_8_bit_bgr(decode(data, max_pixels))


def resize_shorter_side(picture: np.ndarray, size: int, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Resize `(H, W)` or `(H, W, C)` to a shorter side of `size`: area means to shrink, bicubic to enlarge.

    Raises:
        ImageError: It would have more than `max_pixels` pixels, as a line of pixels soon has.
    """
    from mmcv import imresize

    height, width = picture.shape[:2]
    scale = size / min(height, width)
    wanted = round(width * scale), round(height * scale)
    if math.prod(wanted) > max_pixels:
        raise ImageError(f'{width}x{height} pixels, resized above the limit of {max_pixels:,}')
    return imresize(picture, wanted, interpolation='area' if scale < 1 else 'bicubic')
