"""Decode images: the only place where encoded bytes become pixels.

The treatment of alpha, orientation and colour is defined here, for folders, databases and ``hifacegan restore``:

- Images are upright: the orientation in EXIF or XMP data, or of AVIF, HEIF and TIFF, is applied.
- Pixel values are those of the file: ICC profiles and colour tags are not applied. Only CMYK and Lab are converted to
  sRGB, CMYK by its profile if it has one; palettes become colours.
- Alpha is straight (not premultiplied); the colours under transparent pixels are kept.
- 16 bits stay 16 bits in PNG, TIFF, grey PNM and grey JPEG 2000. More bits, animations and multi-page files are refused
  when the image is opened.
"""

from __future__ import annotations

import io
import warnings

import cv2
import numpy as np
from PIL import ExifTags, Image, ImageCms, TiffImagePlugin

from hifacegan_plugin.images.image_error import ImageError
from hifacegan_plugin.images.opening import TRANSPOSED, EncodedImage

# The flips that undo an EXIF orientation, after the transposition of TRANSPOSED orientations.
_FLIPPED_VERTICALLY = (3, 4, 7, 8)
_FLIPPED_HORIZONTALLY = (2, 3, 6, 7)


def silence_codecs() -> None:
    """Stop OpenCV and Pillow from printing messages about damaged images, in the whole process.

    For commands that report damaged images themselves and show a progress bar.
    """
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    warnings.filterwarnings('ignore', module='PIL')


def decode(image: EncodedImage) -> np.ndarray:
    """Decode an image and turn it upright.

    Returns:
        uint8 or uint16 over the full range of the type: (H, W) grey, (H, W, 2) grey and alpha, (H, W, 3) BGR or
        (H, W, 4) BGRA.

    Raises:
        ImageError: the image is damaged or truncated, or its pixel format is not supported.
    """
    pixels = _decode_by_opencv(image) if image.by_opencv else None
    if pixels is None:  # also if OpenCV fails: Pillow reads the image, or gives the reason
        pixels = _decode_by_pillow(image)
    if image.format != 'TIFF':  # both decoders turn TIFF by themselves
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


def _decode_by_opencv(image: EncodedImage) -> np.ndarray | None:
    """Decode an image by OpenCV; None if it has 8 bits and OpenCV cannot read it.

    Raises:
        ImageError: it has 16 bits and cannot be read; Pillow would reduce it to 8 bits.
    """
    # OpenCV ignores these tags of a TIFF (TIFF 6.0, sections 3, 8 and 18).
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
    """Return a 16-bit PNG with its alpha; OpenCV converts grey with alpha to colours, and ignores a grey colour key."""
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
    except Exception as error:  # damaged files raise errors of any class
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
