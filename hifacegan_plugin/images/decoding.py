"""Decoding images of any origin: the one place where encoded bytes meet a decoder.

What alpha, orientation and colour mean is decided here, for folders, databases and ``hifacegan restore`` alike:

- Images come upright: an orientation in EXIF or XMP data is applied, and that of AVIF, HEIF and TIFF.
- Numbers are the file's own: an ICC profile or colour tags are not applied. Only CMYK and Lab become sRGB, CMYK by its
  profile where there is one; palettes become colours.
- Alpha is straight, beside the colours that the file has under it.
- 16 bits stay 16 bits in PNG, TIFF and grey PNM and JPEG 2000; more bits, animations and files of several pages are
  refused.

Pillow reads the header of every file and decodes most. PNG and JPEG of the common kinds are decoded by OpenCV, which is
faster, and so are 16 bits a channel, which Pillow cuts down to 8. OpenCV 5.0 crashes on an animated PNG with an empty
``fdAT`` chunk; a PNG reaches it as a still image, without any chunk that its decoder of animations looks at.
"""

from __future__ import annotations

import io
import threading
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageFile, TiffImagePlugin, UnidentifiedImageError

try:
    from pillow_heif import register_heif_opener
except ImportError:
    READS_HEIF = False
else:
    register_heif_opener()
    READS_HEIF = True

MAX_PIXELS = 150_000_000  # of an image file, unless another limit is given

Image.init()
# Pillow reads more, some of it by starting other programs (EPS).
_FORMATS = tuple(
    name for name in ('PNG', 'JPEG', 'MPO', 'WEBP', 'BMP', 'DIB', 'TIFF', 'GIF', 'PPM', 'JPEG2000', 'AVIF', 'HEIF')
    if name in Image.OPEN
)  # fmt: skip
_pillows_limit = threading.Lock()

_PNG_SIGNATURE = b'\x89PNG\r\n\x1a\n'
_ANIMATION_CHUNKS = (b'acTL', b'fcTL', b'fdAT')
# What is kept of a PNG besides its critical chunks, and how long it has to be (None: of any length).
_STILL_CHUNKS = {
    b'tRNS': None, b'cICP': 4, b'iCCP': None, b'sRGB': 1, b'gAMA': 4, b'cHRM': 32, b'mDCV': 24, b'cLLI': 8, b'pHYs': 9,
    b'eXIf': None,
}  # fmt: skip
_TEXTS_WITH_ORIENTATION = (b'Raw profile type exif\0', b'XML:com.adobe.xmp\0')

# Of Pillow's modes, where it is not 3.
_CHANNELS = {'1': 1, 'L': 1, 'I': 1, 'I;16': 1, 'I;16B': 1, 'F': 1, 'LA': 4, 'PA': 4, 'RGBA': 4}

# EXIF orientation (1 to 8) as a transposition of the axes followed by flips (vertical, horizontal).
TRANSPOSED = (5, 6, 7, 8)
_FLIPPED_VERTICALLY = (3, 4, 7, 8)
_FLIPPED_HORIZONTALLY = (2, 3, 6, 7)


class ImageError(ValueError):
    """Bytes that cannot be taken as an image; the message says why, as in "is animated", and names no file."""


class TooLargeError(ImageError):
    """An image of more pixels than allowed."""


class PngChunk(NamedTuple):
    """Where a chunk of a PNG stands, from its length to its checksum."""

    kind: bytes
    start: int
    end: int

    def content(self, data: bytes) -> bytes:
        """Return what the chunk holds."""
        return data[self.start + 8 : self.end - 4]


@dataclass(frozen=True)
class EncodedImage:
    """An image whose header is read and whose structure is checked, not decoded yet; see :func:`open_image`.

    Attributes:
        format: Pillow's name of it: ``PNG``, ``JPEG``, ``WEBP`` ...
        data: the encoded bytes; of a PNG, what makes a still image of it, all else before the pixels.
        header: Pillow's image; decoding a TIFF changes its tags.
        orientation: of EXIF, 1 (upright) to 8, which :func:`decode` applies.
        bits: a channel as decoded, 8 or 16.
        by_opencv: OpenCV decodes it; else Pillow.
        standard: every reader takes the same colours from its bytes as :func:`decode`, so that they may be copied.
    """

    format: str
    data: bytes
    header: ImageFile.ImageFile
    orientation: int
    bits: int
    by_opencv: bool
    standard: bool

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels as stored; for PNG, JPEG and WebP as ``cv2.IMREAD_UNCHANGED`` decodes them."""
        channels = _CHANNELS.get(self.header.mode, 3)
        if channels == 3 and 'transparency' in self.header.info:
            channels = 4
        return self.header.height, self.header.width, channels

    @property
    def icc_profile(self) -> bytes | None:
        """The profile of the decoded colours as it stands in the file."""
        return None if self.header.mode in ('CMYK', 'LAB') else self.header.info.get('icc_profile')


def silence_codecs() -> None:
    """Keep OpenCV and Pillow from printing lines of their own about damaged images, in the whole process.

    For commands that report what is wrong with an image under its name, beside a progress bar.
    """
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    warnings.filterwarnings('ignore', module='PIL')


def open_image(data: bytes, max_pixels: int = MAX_PIXELS) -> EncodedImage:
    """Read the header of an encoded image and check what its decoder relies on.

    Args:
        data: a PNG, JPEG, WebP, BMP, TIFF, GIF, PNM, JPEG 2000, AVIF or (with pillow-heif)
            HEIF file, whatever its name.
        max_pixels: that it may have; a larger one is refused before it takes memory.

    Raises:
        ImageError: it is empty, no image, damaged, animated, holds more than 16 bits a channel, or (TooLargeError)
            has too many pixels.
    """
    if not data:
        raise ImageError('is empty (0 bytes)')
    chunks, animated = [], False
    if data.startswith(_PNG_SIGNATURE):
        chunks = list(png_chunks(data))
        animated = _has_frames(data, chunks)
        data = _still_png(data, chunks)
    header = _read_header(data)
    if header.width * header.height > max_pixels:
        raise TooLargeError(f'has {header.width} x {header.height} pixels, more than the limit of {max_pixels:,}')
    # What follows the first image of an MPO, which phones and cameras call JPEG, is a preview or the like.
    kind = 'JPEG' if header.format == 'MPO' else str(header.format)
    if animated or (kind != 'JPEG' and getattr(header, 'is_animated', False)):
        raise ImageError('is animated or has several pages: split it into single images')

    orientation, bits = _read_orientation(header), _bits(kind, data, header)
    if bits == 8 and header.mode[0] in 'IF':
        raise ImageError('holds 12 or 32 bits a channel: convert it to 16 or 8')
    if kind == 'JPEG':
        standard = by_opencv = header.mode in ('L', 'RGB') and _is_whole_jpeg(data)
    else:
        standard = kind in ('PNG', 'WEBP') and not any(chunk.kind in _ANIMATION_CHUNKS for chunk in chunks)
        by_opencv = kind == 'PNG' and header.mode in ('L', 'RGB', 'RGBA') and 'transparency' not in header.info
    if bits == 16 and kind in ('PNG', 'TIFF'):
        by_opencv = True
    return EncodedImage(kind, data, header, orientation, bits, by_opencv, standard and orientation == 1)


def open_checked(data: bytes, max_pixels: int = MAX_PIXELS) -> EncodedImage:
    """Read the header of an encoded image as :func:`open_image`, and check all checksums of a PNG.

    Raises:
        ImageError: see :func:`open_image`; or a checksum is wrong, which decoders may pass over.
    """
    image = open_image(data, max_pixels)
    if image.format == 'PNG':
        view = memoryview(data)
        for kind, start, end in png_chunks(data):
            if zlib.crc32(view[start + 4 : end - 4]) != int.from_bytes(view[end - 4 : end], 'big'):
                raise ImageError(f'is damaged (wrong checksum in the PNG chunk {kind.decode("latin-1")})')
    return image


def decode(image: EncodedImage) -> np.ndarray:
    """Decode an image, upright.

    Returns:
        uint8 or uint16 over the full range of the type: (H, W) grey, (H, W, 2) grey and alpha, (H, W, 3) BGR or
        (H, W, 4) BGRA.

    Raises:
        ImageError: it is damaged or truncated, or holds its pixels in a way that cannot be read.
    """
    pixels = _decode_by_opencv(image) if image.by_opencv else None
    if pixels is None:  # also where OpenCV gives up: Pillow says why, or reads it
        pixels = _decode_by_pillow(image)
    if image.format != 'TIFF':  # which both turn unasked
        pixels = _upright(pixels, image.orientation)
    return np.ascontiguousarray(pixels)


def without_alpha(pixels: np.ndarray) -> np.ndarray:
    """Return what :func:`decode` returned as (H, W) grey or (H, W, 3) BGR."""
    if pixels.ndim == 2 or pixels.shape[2] == 3:
        return pixels
    return pixels[..., 0].copy() if pixels.shape[2] == 2 else cv2.cvtColor(pixels, cv2.COLOR_BGRA2BGR)


def as_8_bit_bgr(pixels: np.ndarray) -> np.ndarray:
    """Return what :func:`decode` returned as uint8 (H, W, 3) BGR: the upper 8 of 16 bits, as OpenCV takes them."""
    pixels = without_alpha(pixels)
    if pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    return cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGR) if pixels.ndim == 2 else pixels


def read_exif(image: EncodedImage) -> Image.Exif:
    """Return the EXIF data of an image as they stand in the file; the caller's to change.

    Raises:
        Exception: of any kind, where they are damaged.
    """
    return _exif_of(_read_header(image.data))


def png_chunks(data: bytes) -> Iterator[PngChunk]:
    """Walk the chunks of a PNG up to its end (PNG specification, section 5.3).

    Raises:
        ImageError: it is truncated.
    """
    end, kind = len(_PNG_SIGNATURE), b''
    while kind != b'IEND':
        start, kind = end, data[end + 4 : end + 8]
        end = start + 12 + int.from_bytes(data[start : start + 4], 'big')
        if end > len(data):
            raise ImageError('is damaged or truncated (a PNG without end)')
        yield PngChunk(kind, start, end)


def _has_frames(data: bytes, chunks: list[PngChunk]) -> bool:
    """Return whether a PNG is animated (PNG specification, section 4.9).

    Raises:
        ImageError: it has no pixels.
    """
    kinds = [chunk.kind for chunk in chunks]
    if b'IDAT' not in kinds:
        raise ImageError('is damaged or truncated (a PNG without pixels)')
    if b'acTL' not in kinds:
        return False
    # A single frame that is the still image is no animation.
    still_is_a_frame = b'fcTL' in kinds[: kinds.index(b'IDAT')]
    control = chunks[kinds.index(b'acTL')]
    frames = int.from_bytes(control.content(data)[:4], 'big')
    return frames > 1 or not still_is_a_frame


def _still_png(data: bytes, chunks: list[PngChunk]) -> bytes:
    """Return a PNG as a still image, with all else before the pixels; as it is where there is nothing to change."""

    def belongs(chunk: PngChunk) -> bool:
        if chunk.kind[:1].isupper():  # critical
            return True
        if chunk.kind in _STILL_CHUNKS:
            return _STILL_CHUNKS[chunk.kind] in (None, chunk.end - chunk.start - 12)
        return data.startswith(_TEXTS_WITH_ORIENTATION, chunk.start + 8)

    *others, end = (chunk for chunk in chunks if chunk.kind != b'IDAT')
    pixels = [chunk for chunk in chunks if chunk.kind == b'IDAT']
    kept = [*filter(belongs, others), *pixels, end]
    if kept == chunks:
        return data
    return _PNG_SIGNATURE + b''.join(data[chunk.start : chunk.end] for chunk in kept)


def _is_whole_jpeg(data: bytes) -> bool:
    """Return whether a JPEG has its end marker behind its first scan (ITU-T T.81, section B.1.1).

    Up to the scan come segments that state their length, and may hold a thumbnail with an end marker of its own; in
    the scan 0xFF is followed by a marker or by a stuffed zero, so that 0xFFD9 can only be the end.
    """
    position = 2
    while data[position : position + 2] != b'\xff\xda':
        if data[position : position + 2] == b'\xff\xff':  # fill bytes may precede a marker
            position += 1
            continue
        length = int.from_bytes(data[position + 2 : position + 4], 'big')
        if data[position : position + 1] != b'\xff' or length < 2:
            return False
        position += 2 + length
    return data.rfind(b'\xff\xd9', position) >= 0


def _read_header(data: bytes) -> ImageFile.ImageFile:
    with _pillows_limit:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None  # there is a limit of our own
        try:
            return Image.open(io.BytesIO(data), formats=_FORMATS)
        except UnidentifiedImageError as error:
            raise ImageError('is not an image, or of no known format') from error
        except Exception as error:  # damaged headers lead Pillow's parsers into any
            raise ImageError(f'is damaged or truncated ({error})') from error
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _exif_of(header: Image.Image) -> Image.Exif:
    # PngImageFile's own method decodes the whole image in search of EXIF data behind it; here they stand before.
    return Image.Image.getexif(header)


def _read_orientation(header: Image.Image) -> int:
    try:
        orientation = _exif_of(header).get(ExifTags.Base.Orientation, 1)
    except Exception:  # of any kind; damaged EXIF data are no reason to do without the image
        return 1
    return orientation if orientation in range(1, 9) else 1


def _bits(kind: str, data: bytes, header: Image.Image) -> int:
    """Return 16 where the channels are decoded as such, else 8."""
    if kind == 'PNG':
        sixteen = data[24] == 16  # bit depth in the header
    elif isinstance(header, TiffImagePlugin.TiffImageFile):
        sixteen = set(header.tag_v2.get(ExifTags.Base.BitsPerSample, ())) == {16} and header.mode != 'CMYK'
    else:
        sixteen = header.mode.startswith('I;16') or (kind, header.mode) == ('PPM', 'I')
    return 16 if sixteen else 8


def _decode_by_opencv(image: EncodedImage) -> np.ndarray | None:
    """Decode 8 bits, or give up (None); or 16 bits.

    Raises:
        ImageError: 16 bits cannot be read; Pillow would cut them down to 8.
    """
    # OpenCV passes over these tags of a TIFF (TIFF 6.0, sections 3, 8 and 18).
    tags = image.header.tag_v2 if isinstance(image.header, TiffImagePlugin.TiffImageFile) else {}
    if tags.get(ExifTags.Base.PlanarConfiguration) == 2 and tags.get(ExifTags.Base.SamplesPerPixel, 1) > 1:
        raise ImageError('holds 16 bits a channel in separate planes: save it interleaved, or as PNG')
    if 1 in tags.get(ExifTags.Base.ExtraSamples, ()):
        raise ImageError('holds 16 bits a channel, premultiplied by alpha: save it with straight alpha, or as PNG')
    try:
        flags = cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION
        pixels = cv2.imdecode(np.frombuffer(image.data, np.uint8), flags)
    except cv2.error:
        pixels = None
    if image.bits == 8:
        return pixels
    if pixels is None or pixels.dtype != np.uint16:
        raise ImageError('is damaged, or holds 16 bits a channel in a way that cannot be read: convert it to PNG')
    if tags.get(ExifTags.Base.PhotometricInterpretation) == 0:  # zero is white
        pixels = ~pixels
    if image.format == 'PNG':
        pixels = _with_alpha_of_png(pixels, image)
    return pixels


def _with_alpha_of_png(pixels: np.ndarray, image: EncodedImage) -> np.ndarray:
    """Return 16 bits of a PNG with its alpha; OpenCV makes colours of grey with alpha, and passes over a grey key."""
    grey_and_alpha = image.data[25] == 4  # colour type in the header
    if grey_and_alpha:
        return pixels[..., [0, 3]]
    if pixels.ndim == 2 and 'transparency' in image.header.info:
        alpha = np.where(pixels == image.header.info['transparency'], 0, 65535).astype(np.uint16)
        return np.dstack([pixels, alpha])
    return pixels


def _decode_by_pillow(image: EncodedImage) -> np.ndarray:
    try:
        image.header.load()
        pixels = np.asarray(image.header if image.bits == 16 else _as_plain_mode(image.header))
    except ImageError:
        raise
    except Exception as error:  # damaged files fail in any way
        raise ImageError(f'is damaged or truncated ({error})') from error
    if image.bits == 16:
        return pixels.astype(np.uint16)
    if pixels.ndim == 3 and pixels.shape[2] > 2:
        return cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR if pixels.shape[2] == 3 else cv2.COLOR_RGBA2BGRA)
    return pixels


def _as_plain_mode(image: Image.Image) -> Image.Image:
    """Convert a loaded image of 8 bits to L, LA, RGB or RGBA."""
    if image.mode == 'CMYK':
        return _cmyk_to_rgb(image)
    if image.mode == '1':
        image = image.convert('L')
    transparent = 'transparency' in image.info or image.mode[-1] in 'aA'
    colourless = image.mode in ('L', 'LA', 'La')
    return image.convert(('LA' if colourless else 'RGBA') if transparent else ('L' if colourless else 'RGB'))


def _cmyk_to_rgb(image: Image.Image) -> Image.Image:
    profile = image.info.get('icc_profile')
    if profile is None:
        return image.convert('RGB')
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        rgb = ImageCms.profileToProfile(image, source, ImageCms.createProfile('sRGB'), outputMode='RGB')
    except (ImageCms.PyCMSError, OSError) as error:
        raise ImageError(f'has a damaged CMYK profile ({error}): convert it to RGB') from error
    assert rgb is not None  # as only with inPlace
    return rgb


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    if orientation in TRANSPOSED:
        pixels = pixels.swapaxes(0, 1)
    if orientation in _FLIPPED_VERTICALLY:
        pixels = pixels[::-1]
    if orientation in _FLIPPED_HORIZONTALLY:
        pixels = pixels[:, ::-1]
    return pixels
