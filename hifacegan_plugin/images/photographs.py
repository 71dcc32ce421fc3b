"""Image files as arrays and back, with their metadata: orientation, profile, resolution, EXIF; alpha and 16 bits."""

from __future__ import annotations

import io
import logging
import struct
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import ExifTags, Image

from hifacegan_plugin.images.decoding import (
    TRANSPOSED,
    EncodedImage,
    ImageError,
    TooLargeError,
    decode,
    open_image,
    png_chunks,
    read_exif,
)
from hifacegan_plugin.system.files import whole_file

logger = logging.getLogger('basicsr.hifacegan_plugin')

WRITABLE = ('.png', '.jpg', '.jpeg', '.webp', '.bmp', '.tif', '.tiff')
HOLDS_16_BITS = ('.png', '.tif', '.tiff')
HOLDS_ALPHA = ('.png', '.webp', '.tif', '.tiff')
QUALITY = 95  # of JPEG and WebP

# What EXIF data say about a photograph. The rest of a directory says how the file stores its pixels; writers that find
# it in EXIF data believe it, although the result is stored otherwise.
DESCRIPTIVE_TAGS = frozenset({
    ExifTags.Base.ImageDescription, ExifTags.Base.Make, ExifTags.Base.Model, ExifTags.Base.XResolution,
    ExifTags.Base.YResolution, ExifTags.Base.ResolutionUnit, ExifTags.Base.Software, ExifTags.Base.DateTime,
    ExifTags.Base.Artist, ExifTags.Base.HostComputer, ExifTags.Base.Rating, ExifTags.Base.RatingPercent,
    ExifTags.Base.Copyright, ExifTags.Base.XPTitle, ExifTags.Base.XPComment, ExifTags.Base.XPAuthor,
    ExifTags.Base.XPKeywords, ExifTags.Base.XPSubject, ExifTags.Base.ExifOffset, ExifTags.Base.GPSInfo,
})  # fmt: skip

# What a PNG says of its colours (PNG specification, third edition, section 11.3.2), besides an ICC profile.
COLOUR_CHUNKS = (b'cICP', b'mDCV', b'cLLI', b'sRGB', b'gAMA', b'cHRM')
_SRGB_CICP = bytes([1, 13, 0, 1])  # ITU-T H.273: primaries of BT.709, transfer of sRGB, RGB, full range
_SRGB_GAMMA = 45455  # 1 / 2.2, times 100,000
_SRGB_CHROMATICITIES = (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)  # white, red, green, blue; x 100,000


@dataclass
class Photograph:
    """An image and the metadata of its file.

    Attributes:
        pixels: uint8 or uint16, ``(H, W)`` grey, ``(H, W, 2)`` grey and alpha, ``(H, W, 3)`` RGB or ``(H, W, 4)`` RGBA,
            upright.
        icc_profile: of the colours, as it stands in the file; None: sRGB.
        exif: what EXIF data say about the photograph, as bytes; the orientation is already applied.
        dpi: pixels an inch, across and down; None: not known.
        colour_chunks: contents by name of the chunks of a PNG that say what its colours are (:data:`COLOUR_CHUNKS`).
    """

    pixels: np.ndarray
    icc_profile: bytes | None = None
    exif: bytes | None = None
    dpi: tuple[float, float] | None = None
    colour_chunks: dict[bytes, bytes] = field(default_factory=dict)


def read_photograph(path: Path, max_pixels: int) -> Photograph:
    """Read an image file as :mod:`hifacegan_plugin.images.decoding` says.

    EXIF data that are damaged are left out, with a line in the log.

    Raises:
        ImageError: if it is no image, damaged, animated, unreadable, of more than 16 bits a channel or larger than
            ``max_pixels``.
    """
    try:
        image = open_image(path.read_bytes(), max_pixels)
        dpi = _read_dpi(image)
        pixels = decode(image)
    except OSError as error:
        raise ImageError(f'cannot be read ({error.strerror})') from error
    except TooLargeError as error:
        raise ImageError(f'{error} (raise --max-megapixels)') from error
    if pixels.ndim == 3 and pixels.shape[2] > 2:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB if pixels.shape[2] == 3 else cv2.COLOR_BGRA2RGBA)
    return Photograph(pixels, image.icc_profile, _read_exif(image, path), dpi, _read_colour_chunks(image))


def write_photograph(path: Path, photograph: Photograph) -> None:
    """Write an image whole or not at all; what the format cannot hold is left out (alpha, 16 bits; BMP: colour profile
    and EXIF; TIFF of 16 bits: EXIF; WebP: resolution). Colour chunks are for PNG; the log says where others are lost.

    Raises:
        ImageError: if the format is unknown or cannot hold such an image, or the file cannot be written.
    """
    suffix = path.suffix.lower()
    if suffix not in WRITABLE:
        raise ImageError(f'cannot be written as {path.name}: the suffix must be one of {", ".join(WRITABLE)}')
    pixels = photograph.pixels
    if pixels.ndim == 3 and pixels.shape[2] in (2, 4) and suffix not in HOLDS_ALPHA:
        pixels = pixels[..., 0] if pixels.shape[2] == 2 else pixels[..., :3]
    if pixels.dtype == np.uint16 and suffix not in HOLDS_16_BITS:
        pixels = np.round(pixels / 257).astype(np.uint8)
    if suffix != '.png' and not photograph.icc_profile and not _says_srgb(photograph.colour_chunks):
        names = ', '.join(name.decode() for name in photograph.colour_chunks)
        logger.warning(
            f'{path}: {suffix} cannot hold the colour tags {names} of the PNG: the colours will be read as '
            'sRGB; choose PNG.'
        )
    try:
        data = _encode(suffix, pixels, photograph)
        if suffix == '.png':
            for name, content in photograph.colour_chunks.items():
                data = _add_png_chunk(data, name, content)
    except Exception as error:  # of the encoders' own kinds
        raise ImageError(f'cannot be encoded as {suffix} ({error}): choose another format') from error
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as part:
            part.write_bytes(data)
    except OSError as error:
        raise ImageError(f'cannot be written ({error.strerror or error})') from error


def check_pixels(pixels: np.ndarray) -> None:
    """Check that an array is an image as :class:`Photograph` holds it, ``(H, W, 1)`` allowed.

    Raises:
        ValueError: if it is not.
    """
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    if pixels.dtype not in (np.uint8, np.uint16) or pixels.size == 0 or pixels.ndim not in (2, 3) or channels > 4:
        raise ValueError(
            f'an image as an array is uint8 or uint16, (H, W) or (H, W, 1 to 4), not {pixels.dtype} {pixels.shape}'
        )


def _read_exif(image: EncodedImage, path: Path) -> bytes | None:
    """Return what EXIF data say about the photograph, without its orientation."""
    try:
        exif = read_exif(image)
        for tag in set(exif) - DESCRIPTIVE_TAGS:
            del exif[tag]
        exif.bigtiff = False  # whatever the file is
        return exif.tobytes() if exif else None
    except Exception as error:  # damaged EXIF fails in any way, and is no reason to do without the image
        logger.warning(f'{path}: EXIF data are damaged and left out ({error}).')
        return None


def _read_dpi(image: EncodedImage) -> tuple[float, float] | None:
    try:
        across, down = map(float, image.header.info.get('dpi', (0, 0)))
    except (TypeError, ValueError):  # damaged, and no reason to do without the image
        return None
    # Pillow says 1 where a TIFF tells nothing; a JPEG holds up to 65535.
    if not all(1 < side <= 65535 for side in (across, down)):
        return None
    return (down, across) if image.orientation in TRANSPOSED else (across, down)


def _read_colour_chunks(image: EncodedImage) -> dict[bytes, bytes]:
    if image.format != 'PNG':
        return {}
    chunks = ((chunk.kind, chunk.content(image.data)) for chunk in png_chunks(image.data))
    return {kind: content for kind, content in chunks if kind in COLOUR_CHUNKS}


def _says_srgb(chunks: dict[bytes, bytes]) -> bool:
    """Return whether colours are those assumed without tags; cICP overrides sRGB, and sRGB overrides the rest."""
    if b'cICP' in chunks:
        return chunks[b'cICP'] == _SRGB_CICP
    if b'sRGB' in chunks:
        return True
    gamma = int.from_bytes(chunks.get(b'gAMA', _SRGB_GAMMA.to_bytes(4, 'big')), 'big')
    chromaticities = struct.unpack('>8I', chunks[b'cHRM']) if b'cHRM' in chunks else _SRGB_CHROMATICITIES
    return abs(gamma - _SRGB_GAMMA) < 1000 and all(
        abs(one - other) < 500 for one, other in zip(chromaticities, _SRGB_CHROMATICITIES)
    )


def _encode(suffix: str, pixels: np.ndarray, photograph: Photograph) -> bytes:
    if pixels.dtype == np.uint16:
        return _encode_16_bits(suffix, pixels, photograph)
    options: dict[str, Any] = {'icc_profile': photograph.icc_profile} if photograph.icc_profile else {}
    if photograph.exif and suffix != '.bmp':
        options['exif'] = photograph.exif
    if photograph.dpi:
        options['dpi'] = photograph.dpi
    if suffix in ('.jpg', '.jpeg', '.webp'):
        options['quality'] = QUALITY
    if suffix in ('.jpg', '.jpeg'):
        options['subsampling'] = 0  # keep colours as sharp as the rest
    if suffix == '.png':
        options['compress_level'] = 3  # a third of the time for a few per cent of the size
    file = io.BytesIO()
    file_format = Image.registered_extensions()[suffix]
    Image.fromarray(pixels).save(file, file_format, **options)
    return file.getvalue()


def _encode_16_bits(suffix: str, pixels: np.ndarray, photograph: Photograph) -> bytes:
    """Encode with OpenCV, because Pillow cannot, and add what OpenCV leaves out."""
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
            data = _add_png_chunk(data, b'eXIf', photograph.exif.removeprefix(b'Exif\0\0'))
        if photograph.icc_profile:
            data = _add_png_chunk(data, b'iCCP', b'ICC profile\0\0' + zlib.compress(photograph.icc_profile))
        if photograph.dpi:
            a_metre = [round(side / 0.0254) for side in photograph.dpi]
            data = _add_png_chunk(data, b'pHYs', struct.pack('>IIB', *a_metre, 1))
    elif photograph.icc_profile:
        data = _add_tiff_tag(data, 34675, photograph.icc_profile)
    return data


def _add_png_chunk(data: bytes, name: bytes, content: bytes) -> bytes:
    """Add a chunk after the header (PNG specification, section 5.3)."""
    chunk = struct.pack('>I', len(content)) + name + content + struct.pack('>I', zlib.crc32(name + content))
    after_header = 33  # signature and IHDR
    return data[:after_header] + chunk + data[after_header:]


def _add_tiff_tag(data: bytes, tag: int, content: bytes) -> bytes:
    """Add a tag of undefined type to a little-endian file: a new directory at the end (TIFF 6.0, section 2)."""
    (directory,) = struct.unpack_from('<I', data, 4)
    (count,) = struct.unpack_from('<H', data, directory)
    entries = [data[start : start + 12] for start in range(directory + 2, directory + 2 + 12 * count, 12)]
    data += bytes(len(data) % 2) + content
    entries.append(struct.pack('<HHII', tag, 7, len(content), len(data) - len(content)))
    entries.sort(key=lambda entry: struct.unpack_from('<H', entry))
    data += bytes(len(data) % 2)
    entries.insert(0, struct.pack('<H', count + 1))
    return data[:4] + struct.pack('<I', len(data)) + data[8:] + b''.join(entries) + bytes(4)
