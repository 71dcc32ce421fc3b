"""Read and write image files with their metadata: orientation, profile, resolution, EXIF; with alpha and 16 bits."""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from hifacegan_plugin.images.decoding import decode
from hifacegan_plugin.images.encoding import HOLDS_16_BITS, HOLDS_ALPHA, HOLDS_IPTC, LARGEST_IN_JPEG, WRITABLE, encode
from hifacegan_plugin.images.files import read_file
from hifacegan_plugin.images.image_error import ImageError, TooLargeError
from hifacegan_plugin.images.metadata.exif import descriptive_exif
from hifacegan_plugin.images.metadata.iptc import read_descriptive_iptc
from hifacegan_plugin.images.metadata.png_chunks import read_chunks
from hifacegan_plugin.images.metadata.xmp import descriptive_xmp
from hifacegan_plugin.images.opening import TRANSPOSED, EncodedImage, open_image
from hifacegan_plugin.images.photograph import Photograph
from hifacegan_plugin.system.files import write_file

logger = logging.getLogger('basicsr.hifacegan_plugin')

# The colour chunks of a PNG (PNG specification, third edition, section 11.3.2), except the ICC profile.
COLOUR_CHUNKS = (b'cICP', b'mDCV', b'cLLI', b'sRGB', b'gAMA', b'cHRM')
_SRGB_CICP = bytes([1, 13, 0, 1])  # ITU-T H.273: primaries of BT.709, transfer of sRGB, RGB, full range
_SRGB_GAMMA = 45455  # 1 / 2.2, times 100,000
_SRGB_CHROMATICITIES = (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)  # white, red, green, blue; x 100,000


def read_photograph(path: Path, max_pixels: int) -> Photograph:
    """Read an image file, as defined in :mod:`hifacegan_plugin.images.decoding`.

    Damaged EXIF, XMP and IPTC data are dropped with a warning. From a HEIF file with several images, the primary one is
    read, also with a warning.

    Raises:
        ImageError: if the file is not an image, or is damaged, animated, unreadable, larger than ``max_pixels``, or has
            more than 16 bits a channel.
    """
    try:
        image = open_image(read_file(path, max_pixels), max_pixels)
        dpi = _read_dpi(image)
        pixels = decode(image)
    except TooLargeError as error:
        raise ImageError(f'{error} (raise --max-megapixels)') from error
    if image.format == 'HEIF' and (images := getattr(image.header, 'n_frames', 1)) > 1:
        logger.warning(f'{path} holds {images} images: using the primary one, which viewers show.')
    if pixels.ndim == 3 and pixels.shape[2] > 2:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB if pixels.shape[2] == 3 else cv2.COLOR_BGRA2RGBA)
    return Photograph(
        pixels,
        image.icc_profile,
        _unless_damaged(path, 'EXIF', lambda: descriptive_exif(image.read_exif(), _is_turned(image))),
        _unless_damaged(path, 'XMP', lambda: _read_xmp(image)),
        _unless_damaged(path, 'IPTC', lambda: read_descriptive_iptc(image.header)),
        dpi,
        _read_colour_chunks(image),
    )


def write_photograph(path: Path, photograph: Photograph) -> None:
    """Write an image file completely or not at all.

    Data that the format cannot hold is dropped: alpha; 16 bits; all metadata (BMP); EXIF (16-bit TIFF); the resolution
    (WebP, AVIF and HEIF). A warning is logged for dropped colour chunks (only PNG holds them), for dropped IPTC data
    (only JPEG and TIFF hold them), and for metadata too long for a JPEG.

    Raises:
        ImageError: if the format is unknown or cannot hold the image, or the file cannot be written.
    """
    suffix = path.suffix.lower()
    if suffix not in WRITABLE:
        raise ImageError(f'cannot be written as {path.name}: the suffix must be one of {", ".join(WRITABLE)}')
    pixels = photograph.pixels
    if pixels.ndim == 3 and pixels.shape[2] in (2, 4) and suffix not in HOLDS_ALPHA:
        pixels = pixels[..., 0] if pixels.shape[2] == 2 else pixels[..., :3]
    if pixels.dtype == np.uint16 and suffix not in HOLDS_16_BITS:
        pixels = np.round(pixels / 257).astype(np.uint8)
    photograph = _without_what_is_lost(path, suffix, replace(photograph, pixels=pixels))
    try:
        data = encode(suffix, photograph)
    except Exception as error:  # encoders raise their own classes
        raise ImageError(f'cannot be encoded as {suffix} ({error}): choose another format') from error
    try:
        write_file(path, data)
    except OSError as error:
        raise ImageError(f'cannot be written ({error.strerror or error})') from error


def check_pixels(pixels: np.ndarray) -> None:
    """Check that this is an array as in :class:`Photograph`, or of shape ``(H, W, 1)``.

    Raises:
        TypeError: it is not an array.
        ValueError: the array has another dtype or shape.
    """
    if not isinstance(pixels, np.ndarray):
        raise TypeError(f'an image must be a numpy array here, not {type(pixels).__name__}')
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    if pixels.dtype not in (np.uint8, np.uint16) or pixels.size == 0 or pixels.ndim not in (2, 3) or channels > 4:
        raise ValueError(
            f'an image array must be uint8 or uint16, (H, W) or (H, W, 1 to 4), not {pixels.dtype} {pixels.shape}'
        )


def _without_what_is_lost(path: Path, suffix: str, photograph: Photograph) -> Photograph:
    """Drop colour chunks, EXIF, XMP and IPTC data that the format cannot hold, with a warning."""
    if suffix != '.png' and not photograph.icc_profile and not _says_srgb(photograph.colour_chunks):
        names = ', '.join(name.decode() for name in photograph.colour_chunks)
        logger.warning(
            f'{path}: {suffix} cannot hold the colour tags {names} of the PNG: the colours will be read as '
            'sRGB; choose PNG.'
        )
    data = {'EXIF': photograph.exif, 'XMP': photograph.xmp, 'IPTC': photograph.iptc}
    lost = ['IPTC'] if photograph.iptc and suffix not in HOLDS_IPTC else []
    if suffix in ('.jpg', '.jpeg'):
        lost += [kind for kind, content in data.items() if content and len(content) > LARGEST_IN_JPEG]
    if lost:
        logger.warning(f'{path}: {suffix} cannot hold the {" and ".join(lost)} data, which are dropped; choose TIFF.')
    exif, xmp, iptc = (None if kind in lost else content for kind, content in data.items())
    return replace(photograph, exif=exif, xmp=xmp, iptc=iptc)


def _unless_damaged(path: Path, kind: str, read: Callable[[], bytes | None]) -> bytes | None:
    """Return metadata; None, with a warning, if it is damaged."""
    try:
        return read()
    except Exception as error:  # of any class; an image with damaged metadata is still used
        logger.warning(f'{path}: {kind} data are damaged and dropped ({error}).')
        return None


def _read_xmp(image: EncodedImage) -> bytes | None:
    packet = image.header.info.get('xmp')
    return descriptive_xmp(packet, _is_turned(image)) if packet else None


def _is_turned(image: EncodedImage) -> bool:
    """Return whether decoding turns the image; the HEIF decoder turns it itself."""
    return image.orientation != 1 or image.header.info.get('original_orientation') not in (None, 1)


def _read_dpi(image: EncodedImage) -> tuple[float, float] | None:
    try:
        across, down = map(float, image.header.info.get('dpi', (0, 0)))
    except (TypeError, ValueError):  # damaged; the image is still used
        return None
    # Pillow returns 1 for a TIFF without a resolution; a JPEG holds up to 65535.
    if not all(1 < side <= 65535 for side in (across, down)):
        return None
    return (down, across) if image.orientation in TRANSPOSED else (across, down)


def _read_colour_chunks(image: EncodedImage) -> dict[bytes, bytes]:
    if image.format != 'PNG':
        return {}
    return {chunk.kind: chunk.content for chunk in read_chunks(image.data) if chunk.kind in COLOUR_CHUNKS}


def _says_srgb(chunks: dict[bytes, bytes]) -> bool:
    """Return whether the chunks mean sRGB, the default without tags; cICP overrides sRGB, and sRGB the others."""
    if b'cICP' in chunks:
        return chunks[b'cICP'] == _SRGB_CICP
    if b'sRGB' in chunks:
        return True
    gamma = int.from_bytes(chunks.get(b'gAMA', _SRGB_GAMMA.to_bytes(4, 'big')), 'big')
    chromaticities = struct.unpack('>8I', chunks[b'cHRM']) if b'cHRM' in chunks else _SRGB_CHROMATICITIES
    return abs(gamma - _SRGB_GAMMA) < 1000 and all(
        abs(one - other) < 500 for one, other in zip(chromaticities, _SRGB_CHROMATICITIES)
    )
