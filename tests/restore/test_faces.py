"""Tests of restoring faces in photographs, in Python and with ``hifacegan restore --faces``."""

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from conftest import REPOSITORY
from PIL import Image, ImageCms
from skimage import data

from hifacegan_plugin.__main__ import main
from hifacegan_plugin.archs import CSRGenerator
from hifacegan_plugin.faces import finding
from hifacegan_plugin.faces.alignment import apply, to_image
from hifacegan_plugin.faces.finding import find_faces
from hifacegan_plugin.images.photograph import Photograph
from hifacegan_plugin.images.photograph_files import read_photograph, write_photograph
from hifacegan_plugin.restore import FaceOptions, restore_faces
from hifacegan_plugin.restore.faces import IDENTITY_LIMIT
from hifacegan_plugin.weights import generator_options, write_weights

PORTRAIT = np.ascontiguousarray(data.astronaut()[:256, 96:352])
NO_FACE = np.ascontiguousarray(data.coffee()[:200, :200])
OPTIONS = FaceOptions(min_face=100, side=128)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile('sRGB')).tobytes()
XMP = (
    b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="4"/></rdf:RDF>'
)


def unchanged(image):
    return image


def inverted(image):
    return np.iinfo(image.dtype).max - image


def mosaic(crop):
    small = cv2.resize(crop, (8, 8), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, crop.shape[1::-1], interpolation=cv2.INTER_NEAREST)


def outside_of(square, shape):
    """Return a mask of the pixels at least three pixels outside a square."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    there = apply(cv2.invertAffineTransform(to_image(square, 1)), np.stack([x, y], -1).reshape(-1, 2)).reshape(
        *shape[:2], 2
    )
    return (np.abs(there) > 0.5 + 3 / square.side).any(-1)


def of_kind(kind):
    """Return the portrait in another format."""
    alpha = np.arange(256, dtype=np.uint8)[:, None].repeat(256, 1)
    grey = cv2.cvtColor(PORTRAIT, cv2.COLOR_RGB2GRAY)
    return {
        'RGB': PORTRAIT,
        'RGBA': np.dstack([PORTRAIT, alpha]),
        'grey': grey,
        'grey, one channel': grey[..., None],
        'grey and alpha': np.dstack([grey, alpha]),
        '16 bits': PORTRAIT.astype(np.uint16) * 257,
    }[kind]


@pytest.mark.parametrize('kind', ['RGB', 'RGBA', 'grey', 'grey, one channel', 'grey and alpha', '16 bits'])
def test_only_faces_change(kind):
    image = of_kind(kind)
    given = image.copy()
    same, (face,) = restore_faces(image, unchanged, unchanged, OPTIONS)
    np.testing.assert_array_equal(same, image)
    assert face.identity_distance == 0

    restored, (face,) = restore_faces(image, inverted, None, OPTIONS)
    assert (restored.shape, restored.dtype) == (image.shape, image.dtype)
    outside = outside_of(face.face.square, image.shape)
    assert 0.2 < outside.mean() < 0.8
    np.testing.assert_array_equal(restored[outside], image[outside])
    middle = tuple(np.rint(face.face.square.centre[::-1]).astype(int))
    colours = slice(None) if image.ndim == 2 or image.shape[2] % 2 else slice(-1)
    wanted = inverted(cv2.blur(image, (3, 3)))[middle]
    np.testing.assert_allclose(
        np.atleast_1d(cv2.blur(restored, (3, 3))[middle])[colours], np.atleast_1d(wanted)[colours],
        atol=0.1 * np.iinfo(image.dtype).max,
    )  # fmt: skip
    if colours != slice(None):
        np.testing.assert_array_equal(restored[..., -1], image[..., -1])
    np.testing.assert_array_equal(image, given)


def test_the_network_gets_aligned_faces_and_the_rest_goes_to_the_background():
    crops = []
    restored, (face,) = restore_faces(PORTRAIT, lambda crop: crops.append(crop) or crop, inverted, OPTIONS)
    assert [crop.shape for crop in crops] == [(128, 128, 3)]
    (again,) = find_faces(cv2.resize(crops[0], (512, 512), interpolation=cv2.INTER_CUBIC), 256, '5')
    assert again.square.side == pytest.approx(512, rel=0.03)
    np.testing.assert_allclose(again.square.centre, [255.5, 255.5], atol=10)
    outside = outside_of(face.face.square, PORTRAIT.shape)
    np.testing.assert_array_equal(restored[outside], inverted(PORTRAIT)[outside])
    left, top = np.ceil(face.face.square.centre - 40).astype(int)
    there = np.s_[top : top + 80, left : left + 80]
    # Fine details of the background are kept; here they are inverted, but faint.
    assert np.abs(restored[there].astype(int) - PORTRAIT[there]).mean() < 12


@pytest.mark.parametrize('image', [NO_FACE, PORTRAIT.transpose(1, 0, 2).copy()], ids=['none', 'lying on its side'])
def test_images_without_detected_faces_are_background(image):
    restored, faces = restore_faces(image, lambda crop: pytest.fail('there is no face'), inverted, OPTIONS)
    assert faces == []
    np.testing.assert_array_equal(restored, inverted(image))


def test_networks_that_enlarge():
    """The background is enlarged by 2 and faces by 4; both are blended with the input."""

    def enlarge(image, times):
        return cv2.resize(image, None, fx=times, fy=times, interpolation=cv2.INTER_CUBIC)

    options = FaceOptions(min_face=100, side=128, strength=0.5)
    smooth = cv2.GaussianBlur(PORTRAIT, (0, 0), 1.5)
    restored, (face,) = restore_faces(smooth, lambda crop: enlarge(crop, 4), lambda image: enlarge(image, 2), options)
    assert restored.shape == (512, 512, 3)
    assert (face.before.shape, face.after.shape) == ((128, 128, 3), (512, 512, 3))
    assert np.abs(restored.astype(int) - enlarge(smooth, 2)).mean() < 1
    dark, _ = restore_faces(smooth, lambda crop: enlarge(crop, 4) // 2, lambda image: enlarge(image, 2), options)
    outside = outside_of(face.face.square.enlarged(2), dark.shape)
    np.testing.assert_array_equal(dark[outside], enlarge(smooth, 2)[outside])
    centre = tuple(np.rint(2 * face.face.square.centre[::-1] + 0.5).astype(int))
    np.testing.assert_allclose(dark[centre], 0.75 * enlarge(smooth, 2)[centre], atol=4)


def test_twelve_faces_are_sorted_by_size():
    canvas = np.full((540, 720, 3), 90, np.uint8)
    for number in range(12):
        side = 140 + 3 * number
        top, left = 180 * (number // 4), 180 * (number % 4)
        canvas[top : top + side, left : left + side] = cv2.resize(PORTRAIT, (side, side), interpolation=cv2.INTER_AREA)
    options = FaceOptions(min_face=90, side=64)
    restored, faces = restore_faces(canvas, unchanged, unchanged, options)
    assert len(faces) == 12
    sides = [face.face.square.side for face in faces]
    assert sides == sorted(sides, reverse=True)
    np.testing.assert_array_equal(restored, canvas)
    restored, largest = restore_faces(canvas, inverted, None, FaceOptions(only=1, min_face=90, side=64))
    assert [face.face.square.side for face in largest] == sides[:1]
    changed = np.argwhere((restored != canvas).any(-1))
    assert changed.min(0)[0] >= 360 and changed.min(0)[1] >= 540  # the last of the twelve


def test_a_face_at_the_border():
    cut_off = np.ascontiguousarray(PORTRAIT[30:, 60:])
    same, (face,) = restore_faces(cut_off, unchanged, None, OPTIONS)
    assert face.face.square.corners.min() < -5
    np.testing.assert_array_equal(same, cut_off)
    restored, _ = restore_faces(cut_off, inverted, None, OPTIONS)
    assert restored.shape == cut_off.shape and (restored != cut_off).mean() > 0.3


def test_a_face_of_30_pixels_needs_a_lower_limit():
    small = cv2.resize(PORTRAIT, (80, 80), interpolation=cv2.INTER_AREA)
    assert restore_faces(small, inverted, None, OPTIONS)[1] == []
    _, (face,) = restore_faces(small, inverted, None, FaceOptions(min_face=40, side=64))
    assert face.face.square.side == pytest.approx(54, rel=0.1)


def test_a_face_tilted_by_30_degrees():
    turn = cv2.getRotationMatrix2D((128, 110), -30, 1)
    tilted = cv2.warpAffine(PORTRAIT, turn, (256, 256), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
    upright = find_faces(PORTRAIT, 100, '5')[0].landmarks
    same, (face,) = restore_faces(tilted, unchanged, unchanged, OPTIONS)
    assert face.face.square.roll == pytest.approx(32, abs=3)
    one_per_cent = upright.eye_distance / 100
    assert np.hypot(*(face.face.landmarks.eyes - apply(turn, upright.eyes)).T).mean() < 2 * one_per_cent
    np.testing.assert_array_equal(same, tilted)


@pytest.mark.parametrize('strength', [0, 0.25])
def test_strength_blends_faces_and_background_with_the_input(strength):
    full, _ = restore_faces(PORTRAIT, mosaic, inverted, OPTIONS)
    options = FaceOptions(min_face=100, side=128, strength=strength)
    part, (face,) = restore_faces(PORTRAIT, mosaic, inverted, options)
    assert face.strength == strength
    wanted = PORTRAIT + strength * (full.astype(float) - PORTRAIT)
    assert np.abs(part - wanted).max() <= 5  # where pasting at full strength is clipped
    assert np.abs(part - wanted).mean() < 0.5  # due to rounding


def test_keep_identity_lowers_the_strength():
    _, (face,) = restore_faces(PORTRAIT, mosaic, None, OPTIONS)
    assert face.exceeds_identity_limit and face.identity_distance > IDENTITY_LIMIT and face.strength == 1
    options = FaceOptions(min_face=100, side=128, keep_identity=True)
    _, (kept,) = restore_faces(PORTRAIT, mosaic, None, options)
    assert not kept.exceeds_identity_limit and kept.identity_distance <= IDENTITY_LIMIT and 0 < kept.strength < 1
    np.testing.assert_allclose(
        kept.after, kept.before + kept.strength * (face.after.astype(float) - kept.before), atol=0.51
    )


@pytest.mark.parametrize(
    ('image', 'error', 'message'),
    [
        (np.zeros((8, 8, 3), np.float32), ValueError, 'an image array must be uint8 or uint16'),
        (np.zeros((8, 8, 5), np.uint8), ValueError, 'an image array must be uint8 or uint16'),
        ('portrait.png', TypeError, 'an image must be a numpy array here, not str'),
    ],
)
def test_invalid_images_are_refused(image, error, message):
    with pytest.raises(error, match=message):
        restore_faces(image, unchanged)


@pytest.mark.parametrize('options', [{'min_face': 0}, {'side': 0}, {'only': 0}, {'strength': 1.5}, {'strength': -0.5}])
def test_invalid_options_are_refused(options):
    ((name, value),) = options.items()
    with pytest.raises(ValueError, match=f'{name} {value}: expected'):
        FaceOptions(**options)


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    """The weights of a network that returns its input."""
    network = CSRGenerator(num_feat=4, preset='fast', num_scales=3, global_residual=True)
    for parameter in network.to_picture.parameters():
        torch.nn.init.zeros_(parameter)
    path = tmp_path_factory.mktemp('weights') / 'same.safetensors'
    write_weights(path, network.state_dict(), generator_options(network))
    return path


class TestCommand:
    @pytest.fixture
    def run(self, weights, tmp_path, monkeypatch, capsys):
        """A function that runs the command in a new folder, with this network for faces and background."""
        monkeypatch.chdir(tmp_path)
        common = ['-o', 'out', '-w', str(weights), '--background', str(weights)]
        common += ['--faces', '--min-face', '100', '--face-side', '128']

        def run(*options, status=0, common=common):
            try:
                found = main(['restore', *common, *options])
            except SystemExit as stop:
                found = stop.code
            printed = capsys.readouterr()
            assert found == status, printed.err
            return printed

        return run

    def test_the_report_may_be_in_the_folder_of_the_results(self, run):
        write_photograph(Path('in/a.png'), Photograph(PORTRAIT))
        run('-i', 'in', '--report', 'out/report/faces.jsonl')
        assert len(Path('out/report/faces.jsonl').read_text().splitlines()) == 1

    def test_report_and_crops(self, run, caplog):
        write_photograph(Path('in/a.png'), Photograph(PORTRAIT.astype(np.uint16) * 257, SRGB, xmp=XMP))
        write_photograph(Path('in/b/c.png'), Photograph(NO_FACE))
        printed = run('-i', 'in', '--report', 'faces.jsonl', '--save-faces', 'crops')
        assert '2 restored' in printed.out
        (warning,) = (record.message for record in caplog.records)
        assert warning.startswith('in/b/c.png: no face restored: no frontal face of --min-face')
        np.testing.assert_array_equal(
            read_photograph(Path('out/a.png'), 10**6).pixels, PORTRAIT.astype(np.uint16) * 257
        )
        (line,) = map(json.loads, Path('faces.jsonl').read_text().splitlines())
        (face,) = find_faces(PORTRAIT, 100, '5')
        assert (line['photograph'], line['result'], line['face']) == ('in/a.png', 'out/a.png', 1)
        assert line['size'] == pytest.approx(face.square.side, abs=0.1)
        np.testing.assert_allclose(line['box'][:2], face.square.corners.min(0), atol=0.1)
        assert (line['identity_distance'], line['strength']) == (0, 1)
        assert sorted(path.name for path in Path('crops').rglob('*')) == [
            'a.png_face1_after.png',
            'a.png_face1_before.png',
        ]
        crop = read_photograph(Path('crops/a.png_face1_after.png'), 10**6)
        assert (crop.pixels.shape, crop.pixels.dtype) == ((128, 128, 3), np.uint16)
        assert read_photograph(Path('out/a.png'), 10**6).xmp == XMP
        assert (crop.icc_profile, crop.xmp) == (
            SRGB,
            None,
        )  # only colours: metadata of the whole image do not apply
        run('-i', 'in', '--report', 'faces.jsonl', '--resume')
        assert len(Path('faces.jsonl').read_text().splitlines()) == 1

    def test_a_photograph_with_exif_orientation(self, run):
        exif = Image.Exif()
        exif[0x0112] = 6  # stored rotated by 90 degrees
        Image.fromarray(np.rot90(PORTRAIT)).save('turned.png', exif=exif)
        run('-i', 'turned.png', '--report', 'faces.jsonl')
        np.testing.assert_array_equal(read_photograph(Path('out/turned.png'), 10**6).pixels, PORTRAIT)
        assert abs(json.loads(Path('faces.jsonl').read_text())['roll']) < 10

    def test_a_large_identity_distance_gives_a_warning(self, run, caplog, monkeypatch):
        monkeypatch.setattr('hifacegan_plugin.restore.faces.IDENTITY_LIMIT', -1)
        write_photograph(Path('a.png'), Photograph(PORTRAIT))
        run('-i', 'a.png')
        assert 'a.png: face 1 may look like another person now: identity distance 0.00' in caplog.text

    def test_strength_without_faces(self, run, weights, lively_generator):
        network = lively_generator(preset='fast', num_scales=3)
        write_weights(Path('w.safetensors'), network.state_dict(), generator_options(network))
        write_photograph(Path('a.png'), Photograph(NO_FACE))
        run('-i', 'a.png', '-o', 'full', '-w', 'w.safetensors', common=[])
        run('-i', 'a.png', '-o', 'half', '-w', 'w.safetensors', '--strength', '0.5', common=[])
        full, half = (read_photograph(Path(folder, 'a.png'), 10**6).pixels for folder in ('full', 'half'))
        assert np.abs(full.astype(int) - NO_FACE).mean() > 5
        np.testing.assert_allclose(half, (full.astype(float) + NO_FACE) / 2, atol=0.51)

    def test_videos_are_refused(self, run):
        Path('a.mp4').write_text('a video')
        assert 'a.mp4 is a video, and --faces is for photographs only' in run('-i', 'a.mp4', status=1).err

    @pytest.mark.parametrize(
        ('options', 'message'),
        [
            (['--report', 'out'], "'out': expected a file, not a folder"),
            (['--background', 'nowhere.pth'], 'nowhere.pth'),
            (['--only', 'some'], "'some': expected largest, all or a whole number of at least 1"),
            (['--strength', '1.5'], "'1.5': expected a number from 0 to 1"),
        ],
    )
    def test_unusable_options_are_reported(self, run, options, message):
        write_photograph(Path('a.png'), Photograph(PORTRAIT))
        Path('out').mkdir()
        assert message in run('-i', 'a.png', *options, status=2).err

    def test_no_report_is_written_if_the_command_cannot_start(self, run):
        run('-i', 'nowhere.png', '--report', 'faces.jsonl', status=2)
        assert not Path('faces.jsonl').exists()

    @pytest.mark.parametrize('options', [['--only', '2'], ['--keep-identity'], ['--save-faces', 'f']])
    def test_face_options_need_faces(self, run, options):
        printed = run('-i', 'a.png', '-o', 'out', *options, status=2, common=[])
        assert f'{options[0]} needs --faces: give it, too.' in printed.err
        assert not Path('out').exists()

    def test_without_dlib(self, run, monkeypatch):
        finding.load_detector.cache_clear()
        monkeypatch.setitem(sys.modules, 'dlib', None)
        write_photograph(Path('a.png'), Photograph(PORTRAIT))
        assert 'pip install "hifacegan-plugin[faces]"' in run('-i', 'a.png', status=2).err


@pytest.mark.heavy
def test_alignment_of_transformed_portraits():
    """The median error is at most 1 % of the distance of the eyes, and all faces are found."""
    folder = REPOSITORY.parent / 'shared/images/portraits'
    if not folder.is_dir():
        pytest.skip('the portraits are not at hand (shared/images beside the repository)')
    draw = np.random.default_rng(0)
    errors = []
    for path in sorted(folder.glob('*.jpg'))[::18]:
        portrait = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        transform = cv2.getRotationMatrix2D((512, 512), draw.uniform(-20, 20), draw.uniform(0.3, 0.6))
        transform[:, 2] += draw.uniform(-100, 300, 2)
        canvas = cv2.warpAffine(portrait, transform, (1200, 1200), flags=cv2.INTER_AREA)
        wanted = find_faces(portrait, 250, '5')[0].landmarks
        same, faces = restore_faces(canvas, unchanged, unchanged)
        np.testing.assert_array_equal(same, canvas)
        eyes = apply(transform, wanted.eyes)
        distances = [np.hypot(*(face.face.landmarks.eyes - eyes).T).mean() for face in faces]
        errors.append(min(distances) / np.hypot(*(eyes[1] - eyes[0])))
    assert np.median(errors) < 0.01 and max(errors) < 0.04
