"""Picture files as arrays and back, with what belongs to them: orientation, colour profile, alpha, 16 bits."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageOps

from hifacegan_plugin.atomic import whole_file

READABLE = ('.png', '.jpg', '.jpeg', '.webp', '.bmp', '.tif', '.tiff', '.gif', '.ppm', '.pgm')
WRITABLE = ('.png', '.jpg', '.jpeg', '.webp', '.bmp', '.tif', '.tiff')
HOLDS_16_BITS = ('.png', '.tif', '.tiff')
HOLDS_ALPHA = ('.png', '.webp', '.tif', '.tiff')
QUALITY = 95  # of JPEG and WebP

# EXIF orientation (1 to 8) as a transposition of the axes followed by flips (vertical, horizontal).
_TRANSPOSED = (5, 6, 7, 8)
_FLIPPED_VERTICALLY = (3, 4, 7, 8)
_FLIPPED_HORIZONTALLY = (2, 3, 6, 7)


class PictureError(ValueError):
    """A file that cannot be read or written as a picture; the message says why, not which."""


@dataclass
class Picture:
    """A picture and what belongs to it.

    Attributes:
        pixels: uint8 or uint16, ``(H, W)`` grey, ``(H, W, 2)`` grey and alpha, ``(H, W, 3)`` RGB or ``(H, W, 4)`` RGBA,
            upright.
        icc_profile: of the colours, as it stands in the file; None: sRGB.
        exif: as bytes, its orientation already applied.
    """

    pixels: np.ndarray
    icc_profile: bytes | None = None
    exif: bytes | None = None


def read_picture(path: Path, max_pixels: int) -> Picture:
    """Read a picture file: upright, palettes and CMYK turned into RGB.

    Raises:
        PictureError: if it is no picture, damaged, animated, unreadable or larger than ``max_pixels``.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise PictureError(f'cannot be read ({error.strerror})') from error
    if not data:
        raise PictureError('is empty (0 bytes)')
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', Image.DecompressionBombWarning)  # there is a limit of our own
            image = Image.open(io.BytesIO(data))
    except Image.DecompressionBombError as error:
        raise PictureError(f'is too large ({error})') from error
    except Image.UnidentifiedImageError as error:
        raise PictureError('is not a picture, or of no known format') from error
    except Exception as error:  # damaged headers fail in any way
        raise PictureError(f'is damaged ({error})') from error
    if image.width * image.height > max_pixels:
        raise PictureError(
            f'has {image.width} x {image.height} pixels, more than the limit of {max_pixels / 1e6:.0f} megapixels '
            '(raise --max-megapixels)'
        )
    if getattr(image, 'n_frames', 1) > 1:
        raise PictureError(f'is animated or has several pages ({image.n_frames}): split it into single pictures')
    try:
        image.load()
    except Exception as error:  # damaged data too
        raise PictureError(f'is damaged or truncated ({error})') from error
    return _decode_16_bits(data, image) if _has_16_bits(data, image) else _decode_8_bits(image)


def write_picture(path: Path, picture: Picture) -> None:
    """Write a picture whole or not at all; what the format cannot hold (alpha, 16 bits) is left out.

    Raises:
        PictureError: if the format is unknown or the file cannot be written.
    """
    suffix = path.suffix.lower()
    if suffix not in WRITABLE:
        raise PictureError(f'cannot be written as {path.name}: the suffix must be one of {", ".join(WRITABLE)}')
    pixels = picture.pixels
    if pixels.ndim == 3 and pixels.shape[2] in (2, 4) and suffix not in HOLDS_ALPHA:
        pixels = pixels[..., 0] if pixels.shape[2] == 2 else pixels[..., :3]
    if pixels.dtype == np.uint16 and suffix not in HOLDS_16_BITS:
        pixels = np.round(pixels / 257).astype(np.uint8)
    try:
        data = _encode(suffix, pixels, picture)
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as part:
            part.write_bytes(data)
    except OSError as error:
        raise PictureError(f'cannot be written ({error.strerror or error})') from error


def _decode_8_bits(image: Image.Image) -> Picture:
    image = ImageOps.exif_transpose(image)
    profile = image.info.get('icc_profile')
    if image.mode == 'CMYK':
        image, profile = _cmyk_to_rgb(image, profile), None
    elif image.mode not in ('L', 'LA', 'RGB', 'RGBA'):
        transparent = 'transparency' in image.info or image.mode.endswith(('a', 'A'))
        if image.mode == 'P' and not transparent:
            image = image.convert('RGB')
        elif image.mode == '1':
            image = image.convert('L')
        else:
            image = image.convert('RGBA' if transparent else 'RGB')
    elif image.mode in ('L', 'RGB') and 'transparency' in image.info:
        image = image.convert(image.mode + 'A')
    return Picture(np.asarray(image), profile, _exif_bytes(image.getexif()))


def _cmyk_to_rgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    if profile is None:
        return image.convert('RGB')
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        return ImageCms.profileToProfile(image, source, ImageCms.createProfile('sRGB'), outputMode='RGB')
    except (ImageCms.PyCMSError, OSError) as error:
        raise PictureError(f'has a damaged CMYK profile ({error}): convert it to RGB') from error


def _has_16_bits(data: bytes, image: Image.Image) -> bool:
    if image.format == 'PNG':
        return data[24] == 16  # bit depth in the header
    if image.format == 'TIFF':
        return set(image.tag_v2.get(258, ())) == {16}  # BitsPerSample
    return image.mode.startswith('I;16')


def _decode_16_bits(data: bytes, image: Image.Image) -> Picture:
    """Decode with OpenCV, because Pillow cuts colours of 16 bits down to 8."""
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16:
        raise PictureError('holds 16 bits a channel in a way that cannot be read: convert it to PNG')
    if pixels.ndim == 3:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB if pixels.shape[2] == 3 else cv2.COLOR_BGRA2RGBA)
        if image.mode == 'LA':
            pixels = pixels[..., [0, 3]]
    exif = image.getexif()
    orientation = exif.pop(ExifTags.Base.Orientation, 1)
    if orientation in _TRANSPOSED:
        pixels = pixels.swapaxes(0, 1)
    if orientation in _FLIPPED_VERTICALLY:
        pixels = pixels[::-1]
    if orientation in _FLIPPED_HORIZONTALLY:
        pixels = pixels[:, ::-1]
    return Picture(np.ascontiguousarray(pixels), image.info.get('icc_profile'), _exif_bytes(exif))


def _exif_bytes(exif: Image.Exif) -> bytes | None:
    return exif.tobytes() if exif else None


def _encode(suffix: str, pixels: np.ndarray, picture: Picture) -> bytes:
    if pixels.dtype == np.uint16:
        return _encode_16_bits(suffix, pixels, picture.icc_profile)
    options = {'icc_profile': picture.icc_profile} if picture.icc_profile else {}
    if picture.exif and suffix != '.bmp':
        options['exif'] = picture.exif
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


def _encode_16_bits(suffix: str, pixels: np.ndarray, icc_profile: bytes | None) -> bytes:
    if pixels.ndim == 3:
        if pixels.shape[2] == 2:
            pixels = pixels[..., [0, 0, 0, 1]]
        pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR if pixels.shape[2] == 3 else cv2.COLOR_RGBA2BGRA)
    encoded, buffer = cv2.imencode(suffix, pixels)
    if not encoded:
        raise PictureError(f'cannot be encoded as {suffix} with 16 bits a channel')
    data = buffer.tobytes()
    if icc_profile and suffix == '.png':
        body = b'iCCP' + b'ICC profile\0\0' + zlib.compress(icc_profile)
        chunk = struct.pack('>I', len(body) - 4) + body + struct.pack('>I', zlib.crc32(body))
        after_header = 33  # signature and IHDR
        data = data[:after_header] + chunk + data[after_header:]
    return data
