"""Tests that folders, databases and ``hifacegan restore`` decode images alike, in every format."""

import contextlib
import io
import struct
import zlib

import cv2
import numpy as np
import pytest
import tifffile
from PIL import ExifTags, Image, ImageCms, ImageOps, features
from png_files import chunk
from skimage import data

from hifacegan_plugin.images.decoding import decode
from hifacegan_plugin.images.files import read_file
from hifacegan_plugin.images.image_error import ImageError
from hifacegan_plugin.images.opening import open_image
from hifacegan_plugin.images.photograph_files import read_photograph
from hifacegan_plugin.images.sources import ImageSource, read_image
from hifacegan_plugin.prepare import create_lmdb
from hifacegan_plugin.prepare.stores import LmdbWriter

RGB = np.ascontiguousarray(data.astronaut()[100:140, 200:256])
ALPHA = np.ascontiguousarray(data.camera()[100:140, 200:256])
SRGB = ImageCms.createProfile('sRGB')


def png_with(*added, behind=b'', image=RGB):
    """Return a PNG with additional chunks after its header and after its pixels."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, 'PNG')
    encoded = file.getvalue()
    return encoded[:33] + b''.join(added) + encoded[33:-12] + behind + encoded[-12:]


def orientation_as_exif(orientation):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return exif


def xmp(orientation):
    return f'<x:xmpmeta tiff:Orientation="{orientation}"/>'.encode()


def upright(orientation):
    """Return ``RGB`` as viewers show it with an EXIF orientation, by Pillow."""
    image = Image.fromarray(RGB)
    image.info['exif'] = orientation_as_exif(orientation).tobytes()
    return np.asarray(ImageOps.exif_transpose(image))


def save(image, image_format, **options):
    def write(path):
        Image.fromarray(image).save(path, image_format, **options)

    return write


def in_cmyk(**options):
    return lambda path: Image.fromarray(RGB).convert('CMYK').save(path, **options)


def in_lab(path):
    lab = ImageCms.profileToProfile(Image.fromarray(RGB), SRGB, ImageCms.createProfile('LAB'), outputMode='LAB')
    lab.save(path)


def palette(**options):
    return lambda path: Image.fromarray(RGB).quantize(200).save(path, **options)


def tiff(image, **options):
    return lambda path: tifffile.imwrite(path, image, **options)


def tiff_of_cmyk_with_16_bits(path):
    cmyk = np.asarray(Image.fromarray(RGB).convert('CMYK')).astype(np.uint16) * 257
    tifffile.imwrite(path, cmyk, photometric='separated')


def turned_tiff(orientation, image=RGB):
    return tiff(image, photometric='rgb', extratags=[(ExifTags.Base.Orientation, 'H', 1, orientation, True)])


RGBA, RGB16 = np.dstack([RGB, ALPHA]), RGB.astype(np.uint16) * 256 + 99
# How to write a file, its expected colours (None: as decoded by Pillow), and the tolerance for lossy files.
KINDS = {
    'a.png': (save(RGB, 'PNG'), RGB, 0),
    'grey.png': (save(ALPHA, 'PNG'), ALPHA, 0),
    'alpha.png': (save(RGBA, 'PNG'), RGB, 0),
    'grey and alpha.png': (save(np.dstack([ALPHA, RGB[..., 0]]), 'PNG'), ALPHA, 0),
    'palette.png': (palette(), None, 0),
    'palette with transparency.png': (palette(transparency=7), None, 0),
    'transparent colour.png': (save(RGB, 'PNG', transparency=tuple(map(int, RGB[0, 0]))), RGB, 0),
    'bilevel.png': (lambda path: Image.fromarray(ALPHA).convert('1').save(path), None, 0),
    '16 bits.png': (lambda path: cv2.imwrite(str(path), RGB16[..., ::-1]), RGB, 0),
    '16 bits, grey.png': (lambda path: cv2.imwrite(str(path), RGB16[..., 0]), RGB[..., 0], 0),
    '16 bits and alpha.png': (
        lambda path: cv2.imwrite(str(path), np.dstack([RGB16[..., ::-1], RGB16[..., 0]])), RGB, 0,
    ),
    'XMP.png': (lambda path: path.write_bytes(png_with(chunk(b'iTXt', b'XML:com.adobe.xmp\0\0\0\0\0' + xmp(6)))),
                upright(6), 0),
    'EXIF behind the pixels.png': (
        lambda path: path.write_bytes(png_with(behind=chunk(b'eXIf', orientation_as_exif(8).tobytes()[6:]))),
        upright(8), 0,
    ),
    'damaged EXIF.png': (lambda path: path.write_bytes(png_with(chunk(b'eXIf', b'MM\0*\xff\xff\xff\xff'))), RGB, 0),
    'long text.png': (lambda path: path.write_bytes(
        png_with(chunk(b'zTXt', b'history\0\0' + zlib.compress(bytes(3 << 20))))), RGB, 0),
    'a.jpg': (save(RGB, 'JPEG', quality=95), None, 0),
    'grey.jpg': (save(ALPHA, 'JPEG', quality=95), None, 0),
    'CMYK.jpg': (in_cmyk(quality=95), None, 0),
    'a.webp': (save(RGB, 'WEBP', lossless=True), RGB, 0),
    'lossy.webp': (save(RGB, 'WEBP', quality=80), None, 0),
    'alpha.webp': (save(RGBA, 'WEBP', lossless=True, exact=True), RGB, 0),
    'a.bmp': (save(RGB, 'BMP'), RGB, 0),
    'alpha.bmp': (save(RGBA, 'BMP'), RGB, 0),
    'a.gif': (palette(), None, 0),
    'transparent.gif': (palette(transparency=7), None, 0),
    'a.ppm': (save(RGB, 'PPM'), RGB, 0),
    'grey.pgm': (save(ALPHA, 'PPM'), ALPHA, 0),
    '16 bits.pgm': (lambda path: path.write_bytes(b'P5\n56 40\n65535\n' + RGB16[..., 0].astype('>u2').tobytes()),
                    RGB[..., 0], 0),
    'a.tif': (save(RGB, 'TIFF'), RGB, 0),
    'alpha.tif': (save(RGBA, 'TIFF'), RGB, 0),
    'premultiplied.tif': (tiff(np.dstack([RGB // 2, np.full_like(ALPHA, 128)]), photometric='rgb', extrasamples=[1]),
                          RGB, 2),
    'planes.tif': (tiff(RGB.transpose(2, 0, 1), photometric='rgb', planarconfig='separate'), RGB, 0),
    'white is zero.tif': (tiff(~ALPHA, photometric='miniswhite'), ALPHA, 0),
    'white is zero, 16 bits.tif': (tiff(~RGB16[..., 0], photometric='miniswhite'), RGB[..., 0], 0),
    '16 bits.tif': (tiff(RGB16, photometric='rgb'), RGB, 0),
    'CMYK.tif': (in_cmyk(), None, 0),
    'CMYK, 16 bits.tif': (tiff_of_cmyk_with_16_bits, RGB, 1),
    'Lab.tif': (in_lab, RGB, 5),
    'turned, 16 bits.tif': (turned_tiff(6, RGB16), upright(6), 0),
    **{f'turned {n}.png': (save(RGB, 'PNG', exif=orientation_as_exif(n)), upright(n), 0) for n in range(2, 9)},
    **{f'turned {n}.webp': (save(RGB, 'WEBP', lossless=True, exif=orientation_as_exif(n)), upright(n), 0)
       for n in range(2, 9)},
    **{f'turned {n}.tif': (turned_tiff(n), upright(n), 0) for n in range(2, 9)},
    **{f'turned {n}.jpg': (save(RGB, 'JPEG', quality=100, exif=orientation_as_exif(n)), upright(n), 5)
       for n in range(2, 9)},
    'XMP.jpg': (save(RGB, 'JPEG', quality=100, xmp=xmp(5)), upright(5), 5),
}  # fmt: skip
if features.check('jpg_2000'):
    KINDS['a.jp2'] = save(RGB, 'JPEG2000'), RGB, 0
    KINDS['alpha.jp2'] = save(RGBA, 'JPEG2000'), RGB, 0
    KINDS['16 bits.jp2'] = save(RGB16[..., 0], 'JPEG2000'), RGB[..., 0], 0
if features.check('avif'):
    KINDS['a.avif'] = save(RGB, 'AVIF', quality=90), None, 0
    KINDS['alpha.avif'] = save(RGBA, 'AVIF', quality=90), None, 0
    for n in range(2, 9):
        KINDS[f'turned {n}.avif'] = save(RGB, 'AVIF', quality=95, exif=orientation_as_exif(n)), upright(n), 5


@pytest.mark.parametrize('name', KINDS)
def test_all_readers_decode_the_same_image(tmp_path, name):
    write, expected, tolerance = KINDS[name]
    folder = tmp_path / 'folder'
    folder.mkdir()
    write(folder / name)
    in_folder = read_image(ImageSource(str(folder), name))

    if expected is None:
        expected = np.asarray(Image.open(folder / name).convert('RGB'))
    elif expected.ndim == 2:
        expected = np.repeat(expected[..., None], 3, axis=2)
    assert in_folder.shape == expected.shape
    assert np.abs(in_folder[..., ::-1].astype(int) - expected).mean() <= tolerance

    for how in (create_lmdb.Options(), create_lmdb.Options(reencode=True)):
        (entry,) = create_lmdb.make_entries((folder / name).read_bytes(), 'key', how)
        database = tmp_path / f'{how.reencode}.lmdb'
        writer = LmdbWriter(database)
        writer.write([entry])
        writer.finish([entry.describe()])
        writer.close()
        assert np.array_equal(read_image(ImageSource(str(database), 'key')), in_folder)
        by_the_host = cv2.imdecode(np.frombuffer(entry.value, np.uint8), cv2.IMREAD_COLOR)
        assert np.array_equal(by_the_host, in_folder)
        assert entry.shape[:2] == in_folder.shape[:2]

    restored = read_photograph(folder / name, 10**6).pixels
    if restored.dtype == np.uint16:
        restored = (restored >> 8).astype(np.uint8)
    colours = np.atleast_3d(restored)
    colours = colours[..., :3] if colours.shape[2] > 2 else colours[..., :1]
    assert np.array_equal(np.broadcast_to(colours, in_folder.shape), in_folder[..., ::-1])


def apng(*, frames=2, content=b''):
    """Return an animation; if its second frame is empty, OpenCV 5.0 crashes."""
    size = struct.pack('>II', RGB.shape[1], RGB.shape[0])
    control = struct.pack('>I', 0) + size + bytes(8) + struct.pack('>HHBB', 1, 10, 0, 0)
    return png_with(
        chunk(b'acTL', struct.pack('>II', frames, 0)), behind=chunk(b'fcTL', control) + chunk(b'fdAT', content)
    )


def animation(image_format):
    file, frame = io.BytesIO(), Image.fromarray(RGB)
    frame.save(file, image_format, save_all=True, append_images=[ImageOps.invert(frame)])
    return file.getvalue()


UNREADABLE = {
    'empty fdAT.png': (apng(), 'is animated'),
    'empty fdAT of one frame.png': (apng(frames=1), 'is animated'),
    'animated.png': (animation('PNG'), 'is animated'),
    'animated.webp': (animation('WEBP'), 'is animated'),
    'animated.gif': (animation('GIF'), 'is animated'),
    'two pages.tif': (animation('TIFF'), 'is animated or has several pages'),
    'empty.png': (b'', 'is empty'),
    'text.png': (b'no image', 'is not an image'),
    'PostScript.png': (b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n', 'is not an image'),
    'without end.png': (png_with()[:-12], 'is damaged or truncated'),
    'without pixels.png': (png_with()[:33] + chunk(b'IEND'), 'is damaged or truncated'),
    'cut short.png': (png_with()[:900], 'is damaged or truncated'),
    'pixels cut short.png': (png_with()[:900] + chunk(b'IEND'), 'is damaged or truncated'),
}


@pytest.mark.parametrize('name', UNREADABLE)
def test_all_readers_refuse_the_same_files(tmp_path, name):
    content, reason = UNREADABLE[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=f'{name} {reason}'):
        read_image(ImageSource(str(tmp_path), name))
    with pytest.raises(ImageError, match=reason):
        create_lmdb.make_entries(read_file(tmp_path / name), 'key', create_lmdb.Options())
    with pytest.raises(ImageError, match=reason):
        read_photograph(tmp_path / name, 10**6)


@pytest.mark.parametrize(
    'added',
    [
        chunk(b'acTL', struct.pack('>II', 1, 0)) + chunk(b'fcTL', bytes(26)),
        chunk(b'fcTL', bytes(26)) + chunk(b'fdAT'),
    ],
    ids=['a single frame', 'frames that no acTL announces'],
)
def test_animation_chunks_are_removed_from_still_pngs(added):
    encoded = png_with(added, behind=chunk(b'fdAT'))
    image = open_image(encoded)
    assert not any(kind in image.data for kind in (b'acTL', b'fcTL', b'fdAT'))
    assert np.array_equal(decode(image)[..., ::-1], RGB)
    (entry,) = create_lmdb.make_entries(encoded, 'key', create_lmdb.Options())
    assert b'fdAT' not in entry.value  # the host would decode it


def test_damaged_files_raise_only_image_errors():
    rng = np.random.default_rng(0)
    good = [png_with(chunk(b'gAMA', bytes(4))), apng(content=bytes(9)), apng(frames=1, content=bytes(9))]
    for encoded in good:
        for _ in range(150):
            damaged = bytearray(encoded)
            for place in rng.integers(8, len(encoded), rng.choice((1, 3, 20))):
                damaged[place] = rng.integers(256)
            with contextlib.suppress(ImageError):
                assert decode(open_image(bytes(damaged), 10**6)).size


def test_pillows_limit_on_pixels_is_not_changed():
    before = Image.MAX_IMAGE_PIXELS
    open_image(png_with())
    with pytest.raises(ImageError, match='56 x 40 pixels, more than the limit of 2,239'):
        open_image(png_with(), 56 * 40 - 1)
    assert Image.MAX_IMAGE_PIXELS == before is not None


@pytest.mark.parametrize('channels', [1, 3])
def test_transparent_colours_of_16_bits_become_alpha(channels):
    pixels = RGB16[..., :channels]
    key = pixels[3, 4]
    header = struct.pack('>IIBBBBB', 56, 40, 16, 2 if channels == 3 else 0, 0, 0, 0)
    rows = b''.join(b'\0' + row.astype('>u2').tobytes() for row in pixels)
    encoded = (
        b'\x89PNG\r\n\x1a\n'
        + chunk(b'IHDR', header)
        + chunk(b'tRNS', key.astype('>u2').tobytes())
        + chunk(b'IDAT', zlib.compress(rows))
        + chunk(b'IEND')
    )
    decoded = decode(open_image(encoded))
    assert np.array_equal(decoded[..., channels - 1 :: -1], pixels)
    assert np.array_equal(decoded[..., channels] == 0, (pixels == key).all(axis=2))
