"""Tests of reading and writing photographs with their metadata."""

import io
import logging
import struct

import cv2
import numpy as np
import pytest
import tifffile
from PIL import ExifTags, Image, ImageCms, ImageOps
from png_files import chunk, png_bomb
from skimage import data

from hifacegan_plugin.images.image_error import ImageError
from hifacegan_plugin.images.photograph import Photograph
from hifacegan_plugin.images.photograph_files import read_photograph, write_photograph

MAX_PIXELS = 1_000_000
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile('sRGB')).tobytes()


@pytest.fixture
def colours():
    return np.ascontiguousarray(data.astronaut()[100:160, 200:280])


@pytest.mark.parametrize('suffix', ['.png', '.webp', '.tif', '.bmp', '.jpg'])
def test_round_trip(tmp_path, colours, suffix):
    path = tmp_path / f'a{suffix}'
    write_photograph(path, Photograph(colours, icc_profile=None))
    lossy = 12 if suffix in ('.jpg', '.webp') else 0
    assert np.abs(read_photograph(path, MAX_PIXELS).pixels.astype(int) - colours).mean() <= lossy
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize('channels', [1, 2, 3, 4])
@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
@pytest.mark.parametrize('suffix', ['.png', '.tif'])
def test_lossless_round_trip_of_every_kind(tmp_path, channels, dtype, suffix):
    if suffix == '.tif' and channels == 2 and dtype == np.uint16:
        channels = 4  # OpenCV writes four channels
    shape = (9, 14) if channels == 1 else (9, 14, channels)
    pixels = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)
    write_photograph(tmp_path / f'a{suffix}', Photograph(pixels))
    read = read_photograph(tmp_path / f'a{suffix}', MAX_PIXELS).pixels
    if dtype == np.uint16 and channels == 2:  # grey with alpha is read as RGB
        read = read[..., [0, 3]]
    assert read.dtype == dtype
    assert np.array_equal(read, pixels)


def _in_lab(image):
    srgb, lab = ImageCms.createProfile('sRGB'), ImageCms.createProfile('LAB')
    return ImageCms.profileToProfile(image, srgb, lab, outputMode='LAB')


def _with_tags_of_a_tiff(image, path):
    exif = Image.Exif()
    exif[ExifTags.Base.PhotometricInterpretation] = 6
    image.save(path, 'JPEG', exif=exif, quality=100)


def _write_16_bits(path, image, **layout):
    tifffile.imwrite(path, np.asarray(image).astype(np.uint16) * 257, **layout)


FOREIGN_TIFFS = {
    'CMYK': lambda image, path: image.convert('CMYK').save(path),
    'palette': lambda image, path: image.quantize(256).save(path),
    'YCbCr as JPEG': lambda image, path: image.convert('YCbCr').save(path, compression='jpeg'),
    'Lab': lambda image, path: _in_lab(image).save(path, icc_profile=SRGB),
    'planes': lambda image, path: tifffile.imwrite(path, np.asarray(image).transpose(2, 0, 1), photometric='rgb',
                                                   planarconfig='separate'),
    'tiles': lambda image, path: tifffile.imwrite(path, np.asarray(image), photometric='rgb', tile=(16, 16)),
    'BigTIFF': lambda image, path: tifffile.imwrite(path, np.asarray(image), photometric='rgb', bigtiff=True),
    'white is zero': lambda image, path: tifffile.imwrite(path, ~np.asarray(image.convert('L')),
                                                          photometric='miniswhite'),
    'JPEG with tags of a TIFF': _with_tags_of_a_tiff,
    'tiles, 16 bits': lambda image, path: _write_16_bits(path, image, photometric='rgb', tile=(16, 16)),
    'big-endian, 16 bits': lambda image, path: _write_16_bits(path, image, photometric='rgb', byteorder='>'),
    'white is zero, 16 bits': lambda image, path: _write_16_bits(path, ImageOps.invert(image.convert('L')),
                                                                 photometric='miniswhite'),
}  # fmt: skip


@pytest.mark.parametrize('suffix', ['.tif', '.png', '.jpg'])
@pytest.mark.parametrize('kind', FOREIGN_TIFFS)
def test_formats_of_other_programs(tmp_path, colours, kind, suffix):
    image = Image.fromarray(colours)
    FOREIGN_TIFFS[kind](image, tmp_path / 'a.tif')
    original = read_photograph(tmp_path / 'a.tif', MAX_PIXELS)
    write_photograph(tmp_path / f'b{suffix}', original)
    result = Image.open(tmp_path / f'b{suffix}')
    if kind == 'Lab':
        assert 'icc_profile' not in result.info
    grey = original.pixels.ndim == 2
    assert grey == kind.startswith('white')
    pixels = np.asarray(result) / (257 if result.mode.startswith('I') else 1)
    lossy = 5 if suffix == '.jpg' or kind in ('palette', 'YCbCr as JPEG', 'Lab') or 'JPEG' in kind else 0.01
    assert np.abs(pixels - np.asarray(image.convert('L') if grey else image)).mean() < lossy


def test_a_tiff_of_many_strips_becomes_a_jpeg(tmp_path):
    """A list of all strips would be too long for EXIF data."""
    tifffile.imwrite(tmp_path / 'a.tif', np.zeros((9000, 8, 3), np.uint8), photometric='rgb', rowsperstrip=1)
    write_photograph(tmp_path / 'a.jpg', read_photograph(tmp_path / 'a.tif', MAX_PIXELS))
    assert Image.open(tmp_path / 'a.jpg').size == (8, 9000)


@pytest.mark.parametrize('suffix', ['.tif', '.jpg', '.png', '.webp'])
def test_exif_data_is_kept(tmp_path, colours, suffix):
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = 'somebody'
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ISOSpeedRatings] = 400
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] = 'S'
    Image.fromarray(colours).save(tmp_path / 'a.tif', exif=exif.tobytes())
    write_photograph(tmp_path / f'b{suffix}', read_photograph(tmp_path / 'a.tif', MAX_PIXELS))
    kept = Image.open(tmp_path / f'b{suffix}').getexif()
    assert kept[ExifTags.Base.Artist] == 'somebody'
    assert kept.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ISOSpeedRatings] == 400
    assert kept.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] == 'S'


@pytest.mark.parametrize('suffix', ['.png', '.jpg', '.webp', '.tif'])
def test_colour_profile_is_kept(tmp_path, colours, suffix):
    write_photograph(tmp_path / f'a{suffix}', Photograph(colours, SRGB))
    assert read_photograph(tmp_path / f'a{suffix}', MAX_PIXELS).icc_profile == SRGB


@pytest.mark.parametrize('suffix', ['.png', '.tif'])
@pytest.mark.parametrize('odd', [SRGB, SRGB + b'\0'])
def test_colour_profile_of_16_bits_is_kept(tmp_path, colours, suffix, odd):
    pixels = colours.astype(np.uint16) * 257
    write_photograph(tmp_path / f'a{suffix}', Photograph(pixels, odd))
    read = read_photograph(tmp_path / f'a{suffix}', MAX_PIXELS)
    assert read.icc_profile == odd
    assert np.array_equal(read.pixels, pixels)
    assert Image.open(tmp_path / f'a{suffix}').info['icc_profile'] == odd


def test_exif_of_16_bits_is_kept(tmp_path, colours):
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = 'camera'
    write_photograph(tmp_path / 'a.png', Photograph(colours.astype(np.uint16), exif=exif.tobytes()))
    assert Image.open(tmp_path / 'a.png').getexif()[ExifTags.Base.Make] == 'camera'


def _with_chunks(chunks, bits=8):
    depth = {8: np.uint8, 16: np.uint16}[bits]
    encoded = cv2.imencode('.png', np.full((60, 80, 3), 99, depth))[1].tobytes()
    return encoded[:33] + b''.join(chunk(name, content) for name, content in chunks.items()) + encoded[33:]


def _chunks_of(encoded):
    """Return the names and contents of the chunks of a PNG."""
    chunks, position = {}, 8
    while position < len(encoded):
        (length,) = struct.unpack_from('>I', encoded, position)
        chunks[encoded[position + 4 : position + 8]] = encoded[position + 8 : position + 8 + length]
        position += 12 + length
    return chunks


LINEAR = {b'gAMA': struct.pack('>I', 100_000)}
PQ = {
    b'cICP': bytes([9, 16, 0, 1]), b'mDCV': struct.pack('>8H2I', *range(8), 10_000_000, 1),
    b'cLLI': struct.pack('>2I', 10_000_000, 4_000_000),
}  # fmt: skip
DISPLAY_P3 = {
    b'gAMA': struct.pack('>I', 45455),
    b'cHRM': struct.pack('>8I', 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000),
}  # fmt: skip
SAYS_SRGB = {
    b'sRGB': b'\0', b'gAMA': struct.pack('>I', 45455),
    b'cHRM': struct.pack('>8I', 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000),
}  # fmt: skip


@pytest.mark.parametrize('bits', [8, 16])
@pytest.mark.parametrize('chunks', [LINEAR, PQ, DISPLAY_P3, SAYS_SRGB], ids=['linear', 'PQ', 'Display P3', 'sRGB'])
def test_colour_chunks_of_a_png_are_kept(tmp_path, chunks, bits, caplog):
    (tmp_path / 'a.png').write_bytes(_with_chunks(chunks, bits))
    write_photograph(tmp_path / 'b.png', read_photograph(tmp_path / 'a.png', MAX_PIXELS))
    written = (tmp_path / 'b.png').read_bytes()
    kept = _chunks_of(written)
    assert chunks.items() <= kept.items()
    assert list(kept).index(b'IDAT') > max(list(kept).index(name) for name in chunks)
    assert np.array_equal(
        cv2.imdecode(np.frombuffer(written, np.uint8), cv2.IMREAD_UNCHANGED),
        cv2.imread(str(tmp_path / 'a.png'), cv2.IMREAD_UNCHANGED),
    )
    assert not caplog.records


@pytest.mark.parametrize(('chunks', 'lost'), [
    (LINEAR, 'gAMA'), (PQ, 'cICP, mDCV, cLLI'), (DISPLAY_P3, 'gAMA, cHRM'), (SAYS_SRGB, None), ({}, None),
    ({b'cICP': bytes([1, 13, 0, 1]), **LINEAR}, None), ({b'gAMA': struct.pack('>I', 45000)}, None),
    ({b'gAMA': b'', b'cHRM': b'damaged'}, None),
])  # fmt: skip
def test_colour_chunks_that_a_format_cannot_store_are_reported(tmp_path, chunks, lost, caplog):
    (tmp_path / 'a.png').write_bytes(_with_chunks(chunks))
    with caplog.at_level(logging.WARNING, 'basicsr.hifacegan_plugin'):
        write_photograph(tmp_path / 'b.jpg', read_photograph(tmp_path / 'a.png', MAX_PIXELS))
    assert ('cannot hold the colour tags' in caplog.text) == (lost is not None)
    assert f'colour tags {lost or ""}' in caplog.text or not lost


@pytest.mark.parametrize(
    ('suffix', 'bits'),
    [
        ('.png', 8),
        ('.png', 16),
        ('.tif', 8),
        ('.tif', 16),
        ('.jpg', 8),
        ('.bmp', 8),
    ],
)
def test_resolution_is_kept(tmp_path, colours, suffix, bits):
    write = _write_16_bits if bits == 16 else tifffile.imwrite
    turned = [(ExifTags.Base.Orientation, 'H', 1, 6, True)]
    write(tmp_path / 'a.tif', colours, resolution=(300, 150), resolutionunit='inch', extratags=turned)
    write_photograph(tmp_path / f'b{suffix}', read_photograph(tmp_path / 'a.tif', MAX_PIXELS))
    assert Image.open(tmp_path / f'b{suffix}').info['dpi'] == pytest.approx((150, 300), abs=0.1)


def test_no_resolution_is_added(tmp_path, colours):
    cv2.imwrite(str(tmp_path / 'a.tif'), colours)
    write_photograph(tmp_path / 'b.png', read_photograph(tmp_path / 'a.tif', MAX_PIXELS))
    assert 'dpi' not in Image.open(tmp_path / 'b.png').info


@pytest.mark.parametrize('white', [4095, 65535])
def test_grey_of_16_bits_in_pgm(tmp_path, white):
    ramp = np.linspace(0, white, 80).round().astype('>u2')
    (tmp_path / 'a.pgm').write_bytes(b'P5\n80 1\n%d\n' % white + ramp.tobytes())
    pixels = read_photograph(tmp_path / 'a.pgm', MAX_PIXELS).pixels
    assert pixels.dtype == np.uint16
    np.testing.assert_allclose(pixels[0], np.linspace(0, 65535, 80), atol=9)


def test_damaged_exif_is_dropped_with_a_warning(tmp_path, colours, caplog):
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = 'camera'
    path = tmp_path / 'a.webp'
    Image.fromarray(colours).save(path, exif=exif.tobytes().replace(b'MM\0*', b'MM\0?').replace(b'II*\0', b'II?\0'))
    with caplog.at_level(logging.WARNING, 'basicsr.hifacegan_plugin'):
        original = read_photograph(path, MAX_PIXELS)
    assert original.pixels.shape == colours.shape
    assert original.exif is None
    assert f'{path}: EXIF data are damaged' in caplog.text


def test_images_that_a_format_cannot_store(tmp_path):
    with pytest.raises(ImageError, match=r'cannot be encoded as \.webp .*16383'):
        write_photograph(tmp_path / 'a.webp', Photograph(np.zeros((17000, 2, 3), np.uint8)))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize('bits', [8, 16])
def test_orientation_of_a_tiff_is_applied_once(tmp_path, colours, orientation, bits):
    write = _write_16_bits if bits == 16 else tifffile.imwrite
    write(tmp_path / 'a.tif', colours, extratags=[(ExifTags.Base.Orientation, 'H', 1, orientation, True)])
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    image = Image.fromarray(colours)
    image.info['exif'] = exif.tobytes()
    write_photograph(tmp_path / 'b.tif', read_photograph(tmp_path / 'a.tif', MAX_PIXELS))
    result = Image.open(tmp_path / 'b.tif')
    assert result.getexif().get(ExifTags.Base.Orientation, 1) == 1
    assert np.array_equal(np.asarray(result), np.asarray(ImageOps.exif_transpose(image)))


@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize('bits', [8, 16])
def test_orientation_is_applied(tmp_path, colours, orientation, bits):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    exif[ExifTags.Base.Make] = 'camera'
    file = io.BytesIO()
    Image.fromarray(colours).save(file, 'PNG', exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(file)))
    if bits == 16:  # the same file with other pixels
        encoded = cv2.imencode('.png', colours[..., ::-1].astype(np.uint16) * 257)[1].tobytes()
        written = file.getvalue()
        start = written.index(b'eXIf') - 4
        length = int.from_bytes(written[start : start + 4], 'big') + 12
        file = io.BytesIO(encoded[:33] + written[start : start + length] + encoded[33:])
        expected = expected.astype(np.uint16) * 257
    (tmp_path / 'a.png').write_bytes(file.getvalue())
    original = read_photograph(tmp_path / 'a.png', MAX_PIXELS)
    assert np.array_equal(original.pixels, expected)
    write_photograph(tmp_path / 'b.jpg', original)
    kept = Image.open(tmp_path / 'b.jpg').getexif()
    assert kept.get(ExifTags.Base.Orientation, 1) == 1
    assert kept[ExifTags.Base.Make] == 'camera'


@pytest.mark.parametrize(
    ('mode', 'shape'),
    [('P', (60, 80, 3)), ('1', (60, 80)), ('CMYK', (60, 80, 3)), ('L', (60, 80)), ('LA', (60, 80, 2))],
)
def test_other_modes_become_rgb_or_grey(tmp_path, colours, mode, shape):
    path = tmp_path / ('a.jpg' if mode == 'CMYK' else 'a.png')
    image = Image.fromarray(colours).convert(mode)
    image.save(path)
    read = read_photograph(path, MAX_PIXELS).pixels
    assert read.shape == shape
    if mode in ('P', 'CMYK'):
        assert np.abs(read.astype(int) - colours).mean() < 25  # due to dithering


def test_the_first_image_of_a_jpeg_with_preview_is_read(tmp_path, colours):
    image = Image.fromarray(colours)
    image.save(tmp_path / 'a.jpg', 'MPO', save_all=True, append_images=[image.reduce(4)], quality=95)
    read = read_photograph(tmp_path / 'a.jpg', MAX_PIXELS)
    assert np.abs(read.pixels.astype(int) - colours).mean() < 5
    write_photograph(tmp_path / 'b.jpg', read)
    assert Image.open(tmp_path / 'b.jpg').format == 'JPEG'


def test_transparent_palette_becomes_alpha(tmp_path, colours):
    image = Image.fromarray(colours).quantize(16)
    image.save(tmp_path / 'a.png', transparency=3)
    read = read_photograph(tmp_path / 'a.png', MAX_PIXELS).pixels
    assert np.array_equal(read[..., 3] == 0, np.asarray(image) == 3)


def test_alpha_and_16_bits_are_dropped_if_the_format_lacks_them(tmp_path, colours):
    pixels = np.dstack([colours, colours[..., 0]]).astype(np.uint16) * 257
    write_photograph(tmp_path / 'a.bmp', Photograph(pixels))
    assert np.array_equal(read_photograph(tmp_path / 'a.bmp', MAX_PIXELS).pixels, colours)


def _encoded(path):
    Image.fromarray(data.astronaut()[:60, :80]).save(path)
    return path.read_bytes()


def _twelve_bits(path):
    """Write rows of 12 bytes, which are 8 values of 12 bits."""
    tifffile.imwrite(path, np.zeros((8, 12), np.uint8), photometric='minisblack')
    with tifffile.TiffFile(path, mode='r+b') as file:
        file.pages[0].tags['BitsPerSample'].overwrite(12)
        file.pages[0].tags['ImageWidth'].overwrite(8)


@pytest.mark.parametrize(
    ('name', 'write', 'message'),
    [
        ('a.jpg', lambda path: path.write_bytes(_encoded(path)[:-300]), 'damaged or truncated'),
        ('a.webp', lambda path: path.write_bytes(_encoded(path)[:-300]), 'damaged or truncated'),
        ('a.tif', lambda path: path.write_bytes(_encoded(path)[:-300]), 'damaged or truncated'),
        (
            'a.png',
            lambda path: path.write_bytes(png_bomb(20_000, 20_000)),
            r'20000 x 20000 pixels, more than the limit of 1,000,000 \(raise --max-megapixels\)',
        ),
        ('a.tif', lambda path: Image.new('I', (8, 8)).save(path), '32 bits a channel'),
        ('a.tif', lambda path: Image.new('F', (8, 8)).save(path), '32 bits a channel'),
        ('a.tif', _twelve_bits, 'holds 12 or 32 bits a channel'),
        (
            'a.tif',
            lambda path: tifffile.imwrite(path, np.ones((3, 8, 9), np.uint16), photometric='rgb', planarconfig=2),
            'separate planes: save it interleaved',
        ),
        (
            'a.tif',
            lambda path: tifffile.imwrite(path, np.ones((8, 9, 4), np.uint16), photometric='rgb', extrasamples=[1]),
            'premultiplied by alpha',
        ),
        ('a.png', lambda path: path.mkdir(), 'is a folder'),
    ],
)
def test_unreadable_files_are_reported(tmp_path, name, write, message):
    write(tmp_path / name)
    with pytest.raises(ImageError, match=message):
        read_photograph(tmp_path / name, MAX_PIXELS)


def test_limit_on_pixels(tmp_path, colours):
    """The limit does not depend on other data in the file."""
    write_photograph(tmp_path / 'a.png', Photograph(colours, xmp=b'<x/>' + bytes(100_000)))
    read_photograph(tmp_path / 'a.png', 60 * 80)
    with pytest.raises(ImageError, match='80 x 60 pixels'):
        read_photograph(tmp_path / 'a.png', 60 * 80 - 1)


def test_a_full_disk_leaves_no_file(tmp_path, colours, monkeypatch):
    def fail(path, content):
        path.open('wb').write(content[:10])
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr('pathlib.Path.write_bytes', fail)
    with pytest.raises(ImageError, match='cannot be written \\(No space left on device\\)'):
        write_photograph(tmp_path / 'a.png', Photograph(colours))
    assert list(tmp_path.iterdir()) == []


def test_unknown_suffix(tmp_path, colours):
    with pytest.raises(ImageError, match=r'a\.xyz: the suffix must be one of \.png'):
        write_photograph(tmp_path / 'a.xyz', Photograph(colours))
