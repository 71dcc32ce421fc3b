"""Tests of XMP, IPTC and EXIF data."""

import io
import struct
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from PIL import ExifTags, Image, IptcImagePlugin
from skimage import data

from hifacegan_plugin.images.encoding import AVIF, HEIF
from hifacegan_plugin.images.metadata.iptc import TIFF_TAG, jpeg_segment
from hifacegan_plugin.images.metadata.xmp import descriptive_xmp
from hifacegan_plugin.images.opening import MAX_PIXELS
from hifacegan_plugin.images.photograph import Photograph
from hifacegan_plugin.images.photograph_files import read_photograph, write_photograph

XMP = b"""<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:tiff="http://ns.adobe.com/tiff/1.0/"
 xmlns:exif="http://ns.adobe.com/exif/1.0/" xmlns:xmp="http://ns.adobe.com/xap/1.0/"
 xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" xmlns:mwg-rs="http://www.metadataworkinggroup.com/schemas/regions/"
 tiff:Orientation="6" tiff:ImageWidth="4000" tiff:Artist="Ada" exif:PixelXDimension="4000" exif:FNumber="28/10"
 xmp:Rating="4" hdrgm:Version="1.0" exif:FocalPlaneXResolution="1234/1"
 xmlns:MP="http://ns.microsoft.com/photo/1.2/" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/">
<exif:SubjectArea><rdf:Seq><rdf:li>9</rdf:li><rdf:li>8</rdf:li></rdf:Seq></exif:SubjectArea>
<dc:title><rdf:Alt><rdf:li xml:lang="x-default">Caf\xc3\xa9 &amp; bar</rdf:li></rdf:Alt></dc:title>
<xmp:Thumbnails><rdf:Alt><rdf:li>AAAA</rdf:li></rdf:Alt></xmp:Thumbnails>
<mwg-rs:Regions>face</mwg-rs:Regions><MP:RegionInfo>face</MP:RegionInfo>
<Iptc4xmpExt:ImageRegion>face</Iptc4xmpExt:ImageRegion><Iptc4xmpExt:City>Paris</Iptc4xmpExt:City>
</rdf:Description></rdf:RDF></x:xmpmeta>
<?xpacket end="w"?>"""

KEPT = (
    b'tiff:Artist="Ada"',
    b'exif:FNumber="28/10"',
    b'xmp:Rating="4"',
    'Café &amp; bar'.encode(),
    b'>Paris<',
    b'<?xpacket end="w"?>',
)
DROPPED = (
    b'Orientation', b'ImageWidth', b'PixelXDimension', b'Version=', b'Thumbnails>', b'AAAA', b'SubjectArea',
    b'FocalPlane',
)  # fmt: skip


def data_set(record, number, content):
    return struct.pack('>BBBH', 0x1C, record, number, len(content)) + content


CAPTION = data_set(1, 90, b'\x1b%G') + data_set(2, 120, 'Café'.encode())
PREVIEW = data_set(2, 202, bytes(30_000)) + data_set(3, 20, b'\x0f\xa0') + data_set(8, 10, b'pixels')


@pytest.fixture
def photo():
    return np.ascontiguousarray(data.astronaut()[:61, 100:171])


@pytest.mark.parametrize('turned', [False, True])
def test_xmp_data_about_pixels_is_removed(turned):
    kept = descriptive_xmp(XMP + b'  \n', turned)
    assert all(text in kept for text in KEPT)
    assert not any(text in kept for text in DROPPED)
    for regions in (b'mwg-rs:Regions', b'MP:RegionInfo', b'Iptc4xmpExt:ImageRegion'):
        assert (regions in kept) is not turned  # rectangles in the image before its rotation
    assert descriptive_xmp(kept, turned) == kept


@pytest.mark.parametrize(
    ('packet', 'message'),
    [
        (b'<x:xmpmeta', 'unclosed token|no element|syntax'),
        (b'', 'no element found'),
        (b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', 'declares entities'),
    ],
)
def test_damaged_xmp_is_an_error(packet, message):
    with pytest.raises(ValueError, match=message):
        descriptive_xmp(packet, False)


@pytest.mark.parametrize(
    ('namespace', 'name'),
    [
        ('http://ns.adobe.com/tiff/1.0/', 'Orientation'),
        ('http://ns.adobe.com/exif/1.0/', 'PixelYDimension'),
        ('http://ns.adobe.com/photoshop/1.0/', 'ICCProfile'),
        ('http://ns.adobe.com/camera-raw-settings/1.0/', 'Exposure2012'),
        ('http://ns.adobe.com/xmp/note/', 'HasExtendedXMP'),
        ('http://ns.apple.com/HDRGainMap/1.0/', 'HDRGainMapVersion'),
        ('http://ns.apple.com/pixeldatainfo/1.0/', 'NativeFormat'),
        ('http://ns.google.com/photos/1.0/camera/', 'MicroVideo'),
    ],
)
def test_xmp_with_only_pixel_data_is_removed(namespace, name):
    rdf = 'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"'
    packet = f'<rdf:RDF {rdf}><rdf:Description xmlns:a="{namespace}" a:{name}="3"/></rdf:RDF>'
    assert descriptive_xmp(packet.encode(), False) is None


@pytest.mark.parametrize(('stored', 'kept'), [(CAPTION + PREVIEW, CAPTION), (PREVIEW, None)])
def test_iptc_data_about_pixels_is_removed(tmp_path, photo, stored, kept):
    Image.fromarray(photo).save(tmp_path / 'a.jpg', extra=jpeg_segment(stored))
    assert read_photograph(tmp_path / 'a.jpg', MAX_PIXELS).iptc == kept


def test_iptc_data_in_a_jpeg_are_padded_to_an_even_length():
    assert jpeg_segment(b'odd').endswith(b'8BIM\x04\x04\0\0\0\0\0\x03odd\0')  # Photoshop file formats, image resources


@pytest.mark.parametrize('bits', [8, 16])
@pytest.mark.parametrize('suffix', ['.jpg', '.png', '.webp', '.tif', *AVIF, *HEIF[:1]])
def test_xmp_and_iptc_are_kept(tmp_path, photo, suffix, bits, caplog):
    """The data are the same as read by Pillow, and after a second round trip."""
    pixels = photo if bits == 8 else photo.astype(np.uint16) * 257
    xmp = descriptive_xmp(XMP, True)
    write_photograph(tmp_path / f'a{suffix}', Photograph(pixels, xmp=xmp, iptc=CAPTION))
    with Image.open(tmp_path / f'a{suffix}') as image:
        assert image.info['xmp'].rstrip(b'\0') == xmp
        captions = IptcImagePlugin.getiptcinfo(image)
    again = read_photograph(tmp_path / f'a{suffix}', MAX_PIXELS)
    assert again.xmp == xmp
    if suffix in ('.jpg', '.tif'):
        assert captions[2, 120] == 'Café'.encode()
        assert again.iptc == CAPTION and not caplog.records
    else:
        assert 'cannot hold the IPTC data' in caplog.text


@pytest.mark.parametrize('orientation', [1, 6])
@pytest.mark.parametrize('times', [1, 2])
@pytest.mark.parametrize('suffix', ['.jpg', '.png', '.webp', '.tif', *AVIF, *HEIF[:1]])
def test_exif_states_the_size_of_the_result(tmp_path, photo, suffix, times, orientation):
    """Other data about pixels are kept if the size is the same; read by Pillow."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    height, width = photo.shape[:2]
    camera = {0xA002: width, 0xA003: height, 0x9214: (9, 8, 7, 6), 0xA20E: 1234.0, 0x8827: 400}
    exif.get_ifd(ExifTags.IFD.Exif).update(camera)
    Image.fromarray(photo).save(tmp_path / 'a.jpg', exif=exif)
    read = read_photograph(tmp_path / 'a.jpg', MAX_PIXELS)
    write_photograph(tmp_path / f'b{suffix}', replace(read, pixels=read.pixels.repeat(times, 0).repeat(times, 1)))
    with Image.open(tmp_path / f'b{suffix}') as written:
        kept = written.getexif().get_ifd(ExifTags.IFD.Exif)
        assert (kept.pop(0xA002), kept.pop(0xA003)) == written.size
    assert kept.pop(0x8827) == 400
    same = times == orientation == 1
    assert kept == ({0x9214: (9, 8, 7, 6), 0xA20E: 1234.0} if same else {})


def test_exif_without_a_size_gets_none(tmp_path, photo):
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = 'camera'
    write_photograph(tmp_path / 'a.jpg', Photograph(photo, exif=exif.tobytes()))
    with Image.open(tmp_path / 'a.jpg') as written:
        assert dict(written.getexif()) == {ExifTags.Base.Make: 'camera'}


def test_exif_is_kept_in_addition_in_a_tiff(tmp_path, photo):
    exif = Image.Exif()
    exif[0x013B] = 'Ada'
    write_photograph(tmp_path / 'a.tif', Photograph(photo, exif=exif.tobytes(), xmp=XMP, iptc=CAPTION))
    with Image.open(tmp_path / 'a.tif') as image:
        assert image.getexif()[0x013B] == 'Ada'
        assert image.size == (71, 61)


def test_iptc_of_a_tiff_may_be_declared_as_numbers(tmp_path, photo):
    """Photoshop writes them as numbers."""
    numbers = struct.unpack('<5I', CAPTION.ljust(20, b'\0'))
    tag = (TIFF_TAG, 'I', len(numbers), numbers, True)
    tifffile.imwrite(tmp_path / 'a.tif', photo, photometric='rgb', extratags=[tag])
    assert read_photograph(tmp_path / 'a.tif', MAX_PIXELS).iptc == CAPTION


@pytest.mark.parametrize('field', ['exif', 'xmp', 'iptc'])
def test_metadata_too_long_for_a_jpeg_is_dropped_with_a_warning(tmp_path, photo, field, caplog):
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.MakerNote] = bytes(70_000)
    long = {
        'exif': exif.tobytes(), 'xmp': XMP + b' ' * 70_000, 'iptc': 3 * data_set(2, 25, bytes(30_000))
    }[field]  # fmt: skip
    write_photograph(tmp_path / 'a.jpg', Photograph(photo, **{field: long}))
    assert f'cannot hold the {field.upper()} data' in caplog.text
    assert Image.open(tmp_path / 'a.jpg').size == (71, 61)


def test_damaged_metadata_is_dropped_with_a_warning(tmp_path, photo, caplog):
    Image.fromarray(photo).save(tmp_path / 'a.jpg', xmp=b'<x:xmpmeta')
    read = read_photograph(tmp_path / 'a.jpg', MAX_PIXELS)
    assert read.xmp is None and read.pixels.shape == photo.shape
    assert 'a.jpg: XMP data are damaged and dropped' in caplog.text


@pytest.mark.skipif(not HEIF, reason='needs pillow-heif')
@pytest.mark.parametrize('mode', ['RGB', 'RGBA', 'L'])
def test_photographs_of_phones(tmp_path, photo, mode):
    """HEIF with an EXIF orientation, written by pillow-heif and by the plugin."""
    image = Image.fromarray(photo).convert(mode)
    if mode == 'RGBA':
        image.putalpha(Image.fromarray(photo[..., 1]))
    exif = Image.Exif()
    exif[0x0112], exif[0x0110] = 6, 'Phone'
    image.save(tmp_path / 'IMG_1.HEIC', 'HEIF', quality=-1, chroma=444, exif=exif.tobytes(), xmp=XMP)
    photograph = read_photograph(tmp_path / 'IMG_1.HEIC', MAX_PIXELS)
    upright = np.rot90(np.asarray(image), -1)
    assert photograph.pixels.shape == upright.shape
    assert np.abs(photograph.pixels.astype(int) - upright).mean() < 1.5
    assert b'Regions' not in photograph.xmp and b'Ada' in photograph.xmp
    write_photograph(tmp_path / 'b.heic', photograph)
    with Image.open(tmp_path / 'b.heic') as written:
        assert (written.format, written.mode, written.size) == ('HEIF', mode, (61, 71))
        assert written.getexif()[0x0110] == 'Phone'
        assert np.abs(np.asarray(written).astype(int) - photograph.pixels).mean() < 4


@pytest.mark.skipif(not HEIF, reason='needs pillow-heif')
def test_the_primary_image_of_a_heif_file_is_read(tmp_path, photo, caplog):
    first, primary, last = (Image.fromarray(photo[:, start : start + 64]) for start in (0, 3, 7))
    others = {'save_all': True, 'append_images': [primary, last], 'primary_index': 1}
    first.save(tmp_path / 'a.heic', 'HEIF', quality=-1, chroma=444, **others)
    taken = read_photograph(tmp_path / 'a.heic', MAX_PIXELS).pixels
    assert np.abs(taken.astype(int) - np.asarray(primary)).mean() < 1.5
    assert f'{tmp_path / "a.heic"} holds 3 images: using the primary one' in caplog.text


@pytest.mark.skipif(not HEIF, reason='needs pillow-heif')
def test_damaged_heif_is_reported(tmp_path, photo):
    file = io.BytesIO()
    Image.fromarray(photo).save(file, 'HEIF')
    (tmp_path / 'a.heic').write_bytes(file.getvalue()[:-300])
    with pytest.raises(ValueError, match=r'damaged or truncated|not an image'):
        read_photograph(tmp_path / 'a.heic', MAX_PIXELS)
