"""Opening encoded images: what the header says of the pixels, and how they are going to be decoded.

Pillow reads the header of every file and decodes most. PNG and JPEG of the common kinds are decoded by OpenCV, which is
faster, and so are 16 bits a channel, which Pillow cuts down to 8.
"""

from __future__ import annotations

import io
import threading
from dataclasses import dataclass

from PIL import ExifTags, Image, ImageFile, TiffImagePlugin, UnidentifiedImageError

from hifacegan_plugin.images.image_error import SEVERAL_IMAGES, ImageError, TooLargeError
from hifacegan_plugin.images.metadata import png_chunks

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

# Formats of which one image is taken, the one that viewers show. What follows the first image of an MPO, which phones
# and cameras call JPEG, is a preview or the like; HEIF names the primary image (ISO/IEC 14496-12, section 8.11.4), and
# pillow-heif opens it.
ONE_OF_SEVERAL = ('JPEG', 'HEIF')

# Channels of Pillow's modes, where they are not 3.
_CHANNELS = {'1': 1, 'L': 1, 'I': 1, 'I;16': 1, 'I;16B': 1, 'F': 1, 'LA': 4, 'PA': 4, 'RGBA': 4}

TRANSPOSED = (5, 6, 7, 8)  # EXIF orientations that exchange height and width


@dataclass(frozen=True)
class EncodedImage:
    """An image whose header is read and whose structure is checked, not decoded yet.

    Attributes:
        format: Pillow's name of it: ``PNG``, ``JPEG``, ``WEBP`` ...
        data: the encoded bytes; of a PNG, what makes a still image of it, all else before the pixels.
        header: Pillow's image; decoding a TIFF changes its tags.
        orientation: of EXIF, 1 (upright) to 8, which decoding applies.
        bits: a channel as decoded, 8 or 16.
        by_opencv: OpenCV decodes it; else Pillow.
        standard: every reader takes the same colours from its bytes as :mod:`hifacegan_plugin.images.decoding`, so that
            they may be copied.
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

    def read_exif(self) -> Image.Exif:
        """Return the EXIF data as they stand in the file; the caller's to change.

        Raises:
            Exception: of any kind, where they are damaged.
        """
        return _exif_of(_read_header(self.data))


def open_image(data: bytes, max_pixels: int = MAX_PIXELS) -> EncodedImage:
    """Read the header of an encoded image and check what its decoder relies on.

    Args:
        data: a PNG, JPEG, WebP, BMP, TIFF, GIF, PNM, JPEG 2000, AVIF or (with pillow-heif)
            HEIF file, whatever its name.
        max_pixels: that it may have; a larger one is refused before it takes memory.

    Raises:
        ImageError: it is empty, no image, damaged, animated or of several pages, holds more than 16 bits a channel, or
            (TooLargeError) has too many pixels.
    """
    if not data:
        raise ImageError('is empty (0 bytes)')
    as_stored = data
    if data.startswith(png_chunks.SIGNATURE):
        data = png_chunks.still_png(data)
    header = _read_header(data)
    if header.width * header.height > max_pixels:
        raise TooLargeError(f'has {header.width} x {header.height} pixels, more than the limit of {max_pixels:,}')
    kind = 'JPEG' if header.format == 'MPO' else str(header.format)
    if kind not in ONE_OF_SEVERAL and getattr(header, 'is_animated', False):
        raise ImageError(SEVERAL_IMAGES)
    orientation, bits = _read_orientation(header), _bits(kind, data, header)
    if bits == 8 and header.mode[0] in 'IF':
        raise ImageError('holds 12 or 32 bits a channel: convert it to 16 or 8')
    return EncodedImage(
        kind,
        data,
        header,
        orientation,
        bits,
        by_opencv=_is_for_opencv(kind, data, header, bits),
        standard=orientation == 1 and _is_standard(kind, as_stored, header),
    )


def open_checked(data: bytes, max_pixels: int = MAX_PIXELS) -> EncodedImage:
    """Read the header of an encoded image as :func:`open_image`, and check all checksums of a PNG.

    Raises:
        ImageError: see :func:`open_image`; or a checksum is wrong, which decoders may pass over.
    """
    image = open_image(data, max_pixels)
    if image.format == 'PNG':
        png_chunks.check_checksums(data)
    return image


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


def _is_for_opencv(kind: str, data: bytes, header: Image.Image, bits: int) -> bool:
    if bits == 16:
        return kind in ('PNG', 'TIFF')
    if kind == 'PNG':
        return header.mode in ('L', 'RGB', 'RGBA') and 'transparency' not in header.info
    return kind == 'JPEG' and _is_plain_jpeg(data, header)


def _is_standard(kind: str, data: bytes, header: Image.Image) -> bool:
    if kind == 'PNG':
        return not any(chunk.kind in png_chunks.ANIMATION_CHUNKS for chunk in png_chunks.read_chunks(data))
    return kind == 'WEBP' or (kind == 'JPEG' and _is_plain_jpeg(data, header))


def _is_plain_jpeg(data: bytes, header: Image.Image) -> bool:
    """Return whether a JPEG is grey or YCbCr, with its end marker behind its first scan (ITU-T T.81, section B.1.1).

    Up to the scan come segments that state their length, and may hold a thumbnail with an end marker of its own; in
    the scan 0xFF is followed by a marker or by a stuffed zero, so that 0xFFD9 can only be the end.
    """
    if header.mode not in ('L', 'RGB'):
        return False
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
