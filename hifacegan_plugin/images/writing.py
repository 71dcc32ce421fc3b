"""Write PNG: the encoder for all images without metadata.

:mod:`hifacegan_plugin.images.photograph_files` writes other formats, and images with a profile or EXIF data.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from hifacegan_plugin.images.image_error import ImageError
from hifacegan_plugin.system.files import write_file


def encode_png(image: np.ndarray, level: int = 1) -> bytes:
    """Encode an image as PNG.

    The strategy is run-length encoding of row differences. For photographs, compared with OpenCV's default strategy at
    level 1, encoding takes a little more than half the time, the file has up to 5 % fewer bytes, and decoding is a
    quarter faster.

    Args:
        image: uint8 or uint16, ``(H, W)`` grey, ``(H, W, 3)`` BGR or ``(H, W, 4)`` BGRA, as in OpenCV.
        level: compression level, 1 to 9.

    Raises:
        ImageError: it cannot be encoded.
    """
    done, data = cv2.imencode('.png', image, [
        cv2.IMWRITE_PNG_COMPRESSION, level,
        cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE,
        cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP,
    ])  # fmt: skip
    if not done:
        raise ImageError('cannot be encoded as PNG')
    return data.tobytes()


def write_png(path: Path, image: np.ndarray) -> None:
    """Write a PNG file completely or not at all; make its folder if it is missing.

    Args:
        path: of the file.
        image: uint8, ``(H, W, 3)`` RGB or ``(H, W)`` grey.

    Raises:
        OSError: the file cannot be written; the message names it and the reason.
    """
    data = encode_png(image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    try:
        write_file(path, data)
    except OSError as error:
        raise OSError(f'{path} cannot be written ({error.strerror or error})') from error
