"""Picture files as arrays and back, with what belongs to them: orientation, profile, resolution, alpha, 16 bits."""

from __future__ import annotations

import io
import logging
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import ExifTags, Image, ImageCms

from hifacegan_plugin.atomic import whole_file

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
        exif: what they say about the photograph, as bytes; its orientation is already applied.
        dpi: pixels an inch, across and down; None: not known.
    """

    pixels: np.ndarray
    icc_profile: bytes | None = None
    exif: bytes | None = None
    dpi: tuple[float, float] | None = None


def read_picture(path: Path, max_pixels: int) -> Picture:
    """Read a picture file: upright, palettes and CMYK turned into RGB.

    EXIF data that are damaged are left out, with a line in the log.

    Raises:
        PictureError: if it is no picture, damaged, animated, unreadable, of more than 16 bits a channel or larger than
            ``max_pixels``.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise PictureError(f'cannot be read ({error.strerror})') from error
    if not data:
        raise PictureError('is empty (0 bytes)')
    try:
        image = _open(data, max_pixels)
        # As they stand in the file: load() changes the tags of a TIFF. To read those of a PNG may be to decode it all.
        tagged = _open(data, max_pixels) if image.format == 'TIFF' else image
        image.load()
        pixels, profile = _decode_16_bits(data, image) if _has_16_bits(data, image) else _decode_8_bits(image)
    except PictureError:
        raise
    except Image.UnidentifiedImageError as error:
        raise PictureError('is not a picture, or of no known format') from error
    except Exception as error:  # damaged files fail in any way
        raise PictureError(f'is damaged or truncated ({error})') from error
    orientation, exif = _read_exif(tagged, path)
    dpi = _read_dpi(tagged)
    if dpi and orientation in _TRANSPOSED:
        dpi = dpi[::-1]
    if image.format != 'TIFF':  # which Pillow and OpenCV turn unasked
        pixels = _upright(pixels, orientation)
    return Picture(np.ascontiguousarray(pixels), profile, exif, dpi)


def write_picture(path: Path, picture: Picture) -> None:
    """Write a picture whole or not at all; what the format cannot hold is left out (alpha, 16 bits; BMP: colour profile
    and EXIF; TIFF of 16 bits: EXIF; WebP: resolution).

    Raises:
        PictureError: if the format is unknown or cannot hold such a picture, or the file cannot be written.
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
    except Exception as error:  # of the encoders' own kinds
        raise PictureError(f'cannot be encoded as {suffix} ({error}): choose another format') from error
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as part:
            part.write_bytes(data)
    except OSError as error:
        raise PictureError(f'cannot be written ({error.strerror or error})') from error


def _open(data: bytes, max_pixels: int) -> Image.Image:
    """Read the header."""
    pillows_limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None  # there is a limit of our own
    try:
        image = Image.open(io.BytesIO(data))
    finally:
        Image.MAX_IMAGE_PIXELS = pillows_limit
    if image.width * image.height > max_pixels:
        raise PictureError(
            f'has {image.width} x {image.height} pixels, more than the limit of {max_pixels / 1e6:.0f} megapixels '
            '(raise --max-megapixels)'
        )
    # What follows the first picture of an MPO, which phones and cameras call JPEG, is a preview or the like.
    if (pages := getattr(image, 'n_frames', 1)) > 1 and image.format != 'MPO':
        raise PictureError(f'is animated or has several pages ({pages}): split it into single pictures')
    return image


def _decode_8_bits(image: Image.Image) -> tuple[np.ndarray, bytes | None]:
    profile = image.info.get('icc_profile')
    if image.mode == 'CMYK':
        image, profile = _cmyk_to_rgb(image, profile), None
    elif image.mode[0] in 'IF':
        raise PictureError('holds 12 or 32 bits a channel: convert it to 16 or 8')
    elif image.mode not in ('L', 'LA', 'RGB', 'RGBA'):
        transparent = 'transparency' in image.info or image.mode.endswith(('a', 'A'))
        if image.mode == 'P' and not transparent:
            image = image.convert('RGB')
        elif image.mode == '1':
            image = image.convert('L')
        else:
            if image.mode == 'LAB':
                profile = None  # it is one of Lab
            image = image.convert('RGBA' if transparent else 'RGB')
    elif image.mode in ('L', 'RGB') and 'transparency' in image.info:
        image = image.convert(image.mode + 'A')
    return np.asarray(image), profile


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
    return image.mode.startswith('I;16') or (image.format, image.mode) == ('PPM', 'I')


def _decode_16_bits(data: bytes, image: Image.Image) -> tuple[np.ndarray, bytes | None]:
    """Decode with OpenCV, because Pillow cuts colours of 16 bits down to 8."""
    if image.format == 'PPM':  # grey; Pillow, unlike OpenCV, knows the value that is white
        return np.asarray(image).astype(np.uint16), None
    # OpenCV passes over these tags of a TIFF (TIFF 6.0, sections 3, 8 and 18).
    tags = image.tag_v2 if image.format == 'TIFF' else {}
    if tags.get(ExifTags.Base.PlanarConfiguration) == 2 and tags.get(ExifTags.Base.SamplesPerPixel, 1) > 1:
        raise PictureError('holds 16 bits a channel in separate planes: save it interleaved, or as PNG')
    if 1 in tags.get(ExifTags.Base.ExtraSamples, ()):
        raise PictureError('holds 16 bits a channel, premultiplied by alpha: save it with straight alpha, or as PNG')
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
    if pixels is None or pixels.dtype != np.uint16:
        raise PictureError('holds 16 bits a channel in a way that cannot be read: convert it to PNG')
    if pixels.ndim == 3:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB if pixels.shape[2] == 3 else cv2.COLOR_BGRA2RGBA)
        if image.mode == 'LA':
            pixels = pixels[..., [0, 3]]
    if tags.get(ExifTags.Base.PhotometricInterpretation) == 0:  # zero is white
        pixels = ~pixels
    return pixels, image.info.get('icc_profile')


def _read_exif(image: Image.Image, path: Path) -> tuple[int, bytes | None]:
    """Give the orientation (1 to 8) and the rest of what EXIF data say about the photograph."""
    try:
        exif = image.getexif()
        orientation = exif.get(ExifTags.Base.Orientation, 1)
        for tag in set(exif) - DESCRIPTIVE_TAGS:
            del exif[tag]
        exif.bigtiff = False  # whatever the file is
        return orientation, exif.tobytes() if exif else None
    except Exception as error:  # damaged EXIF fails in any way, and is no reason to do without the picture
        logger.warning(f'{path}: EXIF data are damaged and left out ({error}).')
        return 1, None


def _read_dpi(image: Image.Image) -> tuple[float, float] | None:
    try:
        across, down = map(float, image.info.get('dpi', (0, 0)))
    except (TypeError, ValueError):  # damaged, and no reason to do without the picture
        return None
    # Pillow gives 1 where a TIFF tells nothing; a JPEG holds up to 65535.
    return (across, down) if all(1 < side <= 65535 for side in (across, down)) else None


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    if orientation in _TRANSPOSED:
        pixels = pixels.swapaxes(0, 1)
    if orientation in _FLIPPED_VERTICALLY:
        pixels = pixels[::-1]
    if orientation in _FLIPPED_HORIZONTALLY:
        pixels = pixels[:, ::-1]
    return pixels


def _encode(suffix: str, pixels: np.ndarray, picture: Picture) -> bytes:
    if pixels.dtype == np.uint16:
        return _encode_16_bits(suffix, pixels, picture)
    options = {'icc_profile': picture.icc_profile} if picture.icc_profile else {}
    if picture.exif and suffix != '.bmp':
        options['exif'] = picture.exif
    if picture.dpi:
        options['dpi'] = picture.dpi
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


def _encode_16_bits(suffix: str, pixels: np.ndarray, picture: Picture) -> bytes:
    """Encode with OpenCV, because Pillow cannot, and add what OpenCV leaves out."""
    if pixels.ndim == 3:
        if pixels.shape[2] == 2:
            pixels = pixels[..., [0, 0, 0, 1]]
        pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR if pixels.shape[2] == 3 else cv2.COLOR_RGBA2BGRA)
    settings = []
    if picture.dpi and suffix != '.png':
        across, down = map(round, picture.dpi)
        settings = [cv2.IMWRITE_TIFF_RESUNIT, 2, cv2.IMWRITE_TIFF_XDPI, across, cv2.IMWRITE_TIFF_YDPI, down]
    encoded, buffer = cv2.imencode(suffix, pixels, settings)
    if not encoded:
        raise ValueError('OpenCV refuses')
    data = buffer.tobytes()
    if suffix == '.png':
        if picture.exif:
            data = _add_png_chunk(data, b'eXIf', picture.exif.removeprefix(b'Exif\0\0'))
        if picture.icc_profile:
            data = _add_png_chunk(data, b'iCCP', b'ICC profile\0\0' + zlib.compress(picture.icc_profile))
        if picture.dpi:
            a_metre = [round(side / 0.0254) for side in picture.dpi]
            data = _add_png_chunk(data, b'pHYs', struct.pack('>IIB', *a_metre, 1))
    elif picture.icc_profile:
        data = _add_tiff_tag(data, 34675, picture.icc_profile)
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
