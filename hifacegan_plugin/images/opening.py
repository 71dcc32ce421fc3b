"""Open encoded images: read the header, and choose the decoder.

Pillow reads the header of every file and decodes most formats. OpenCV decodes common PNG and JPEG files, because it is
faster, and images with 16 bits a channel, because Pillow reduces them to 8.
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

MAX_PIXELS = 150_000_000  # default limit for an image file

Image.init()
# Pillow reads more formats; some of them start other programs (EPS).
_FORMATS = tuple(
    name for name in ('PNG', 'JPEG', 'MPO', 'WEBP', 'BMP', 'DIB', 'TIFF', 'GIF', 'PPM', 'JPEG2000', 'AVIF', 'HEIF')
    if name in Image.OPEN
)  # fmt: skip
_pillows_limit = threading.Lock()

# Formats with several images, of which the one that viewers show is used. The further images of an MPO, which phones
# and cameras call JPEG, are previews and the like. HEIF names its primary image (ISO/IEC 14496-12, section 8.11.4), and
# pillow-heif opens that one.
ONE_OF_SEVERAL = ('JPEG', 'HEIF')

# Number of channels of Pillow's modes, if not 3.
_CHANNELS = {'1': 1, 'L': 1, 'I': 1, 'I;16': 1, 'I;16B': 1, 'F': 1, 'LA': 4, 'PA': 4, 'RGBA': 4}

TRANSPOSED = (5, 6, 7, 8)  # EXIF orientations that swap height and width


@dataclass(frozen=True)
class EncodedImage:
    """An image with a parsed header and a checked structure, not decoded yet.

    Attributes:
        format: Pillow's name of the format: ``PNG``, ``JPEG``, ``WEBP`` ...
        data: the encoded bytes; for a PNG, those of :func:`~hifacegan_plugin.images.metadata.png_chunks.still_png`.
        header: Pillow's image; decoding a TIFF changes its tags.
        orientation: as in EXIF, 1 (upright) to 8; decoding applies it.
        bits: bits a channel after decoding, 8 or 16.
        by_opencv: whether OpenCV decodes it; otherwise Pillow does.
        standard: whether every decoder returns the same pixels as :mod:`hifacegan_plugin.images.decoding`, so that the
            bytes may be copied.
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
        """The ICC profile in the file, which applies to the decoded colours."""
        return None if self.header.mode in ('CMYK', 'LAB') else self.header.info.get('icc_profile')

    def read_exif(self) -> Image.Exif:
        """Return the EXIF data in the file, as a copy that the caller may change.

        Raises:
            Exception: of any class, if the data is damaged.
        """
        return _exif_of(_read_header(self.data))


def open_image(data: bytes, max_pixels: int = MAX_PIXELS) -> EncodedImage:
    """Read the header of an encoded image, and check the structure that its decoder relies on.

    Args:
        data: a PNG, JPEG, WebP, BMP, TIFF, GIF, PNM, JPEG 2000, AVIF or (with pillow-heif)
            HEIF file, whatever its name.
        max_pixels: larger images are refused before memory is allocated.

    Raises:
        ImageError: the data is empty, not an image, damaged, animated or multi-page, or has more than 16 bits a
            channel.
        TooLargeError: it has too many pixels.
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
    """Like :func:`open_image`, but also check all checksums of a PNG.

    Raises:
        ImageError: as :func:`open_image`, or a checksum is wrong, which decoders may ignore.
    """
    image = open_image(data, max_pixels)
    if image.format == 'PNG':
        png_chunks.check_checksums(data)
    return image


def _read_header(data: bytes) -> ImageFile.ImageFile:
    with _pillows_limit:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None  # max_pixels is the limit
        try:
            return Image.open(io.BytesIO(data), formats=_FORMATS)
        except UnidentifiedImageError as error:
            raise ImageError('is not an image, or of no known format') from error
        except Exception as error:  # damaged headers make Pillow raise errors of any class
            raise ImageError(f'is damaged or truncated ({error})') from error
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _exif_of(header: Image.Image) -> Image.Exif:
    # PngImageFile.getexif decodes the whole image to find EXIF data after it; here, they always come before.
    return Image.Image.getexif(header)


def _read_orientation(header: Image.Image) -> int:
    try:
        orientation = _exif_of(header).get(ExifTags.Base.Orientation, 1)
    except Exception:  # of any class; an image with damaged EXIF data is still used
        return 1
    return orientation if orientation in range(1, 9) else 1


def _bits(kind: str, data: bytes, header: Image.Image) -> int:
    """Return 16 if the channels are decoded to 16 bits, otherwise 8."""
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
    """Return whether a JPEG is grey or YCbCr, and has an end marker after its first scan (ITU-T T.81, section B.1.1).

    The segments before the scan state their length; they may hold a thumbnail with its own end marker. In the scan,
    0xFF is followed by a marker or a stuffed zero, so 0xFFD9 can only be the end marker.
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
