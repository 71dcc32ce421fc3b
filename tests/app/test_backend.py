"""Tests of the backend of the web page, with simple functions instead of networks."""

import numpy as np
import pytest
from PIL import Image
from skimage import data

from hifacegan_plugin.app import environment
from hifacegan_plugin.app.backend import BOTH, FACES, WHOLE, Backend, Settings
from hifacegan_plugin.app.jobs import zip_results

PORTRAIT = np.ascontiguousarray(data.astronaut()[:256, 96:352])
FACE, BACKGROUND = (slice(100, 130), slice(110, 140)), (slice(200, 256), slice(0, 256))


@pytest.fixture
def backend(tmp_path):
    return Backend({'inverting': lambda: np.invert, 'blackening': lambda: np.zeros_like}, 10**6, tmp_path)


@pytest.mark.parametrize(
    ('what', 'in_face', 'in_background', 'faces'),
    [(WHOLE, np.invert, np.invert, 0), (FACES, np.zeros_like, np.array, 1), (BOTH, np.zeros_like, np.invert, 1)],
)
def test_each_part_is_restored_by_its_network(what, in_face, in_background, faces, backend, tmp_path):
    pytest.importorskip('dlib')
    Image.fromarray(PORTRAIT).save(tmp_path / 'portrait.png')
    restore_file = backend.file_restorer(Settings(what, 'inverting', 'blackening', 1, False))
    assert len(restore_file(tmp_path / 'portrait.png', tmp_path / 'result.png')) == faces
    result = np.asarray(Image.open(tmp_path / 'result.png'))
    # Details that are finer than the pixels of the aligned face are kept from the photograph.
    assert np.abs(result[FACE].astype(int) - in_face(PORTRAIT[FACE])).mean() < 5
    assert np.array_equal(result[BACKGROUND], in_background(PORTRAIT[BACKGROUND]))


def test_strength_blends_with_the_image(backend, tmp_path):
    Image.fromarray(PORTRAIT).save(tmp_path / 'portrait.png')
    restore_file = backend.file_restorer(Settings(WHOLE, 'blackening', 'blackening', 0.25, False))
    restore_file(tmp_path / 'portrait.png', tmp_path / 'result.png')
    assert np.abs(np.asarray(Image.open(tmp_path / 'result.png')) - PORTRAIT * 0.75).max() <= 0.5


@pytest.mark.parametrize('keep_identity', [False, True])
def test_keep_identity_lowers_the_strength(keep_identity, backend, tmp_path):
    pytest.importorskip('dlib')
    Image.fromarray(PORTRAIT).save(tmp_path / 'portrait.png')
    restore_file = backend.file_restorer(Settings(FACES, 'inverting', 'blackening', 1, keep_identity))
    (face,) = restore_file(tmp_path / 'portrait.png', tmp_path / 'result.png')
    assert (face.strength < 1, face.exceeds_identity_limit) == (keep_identity, not keep_identity)


def test_session_names_cannot_leave_the_folder(backend, tmp_path):
    folders = {backend.session_folder(name) for name in ('../../..', '/', 'a/b', '', None)}
    assert len(folders) == 5 and {folder.parent for folder in folders} == {tmp_path / 'sessions'}


def test_a_folder_that_cannot_be_deleted_is_reported(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(environment, 'REMOVALS', 2)
    monkeypatch.setattr('shutil.rmtree', lambda *arguments, **options: None)
    environment._remove(tmp_path)
    assert f'{tmp_path} could not be removed' in capsys.readouterr().err


def test_an_incomplete_zip_file_is_deleted(tmp_path, full_disk):
    (tmp_path / 'output').mkdir()
    (tmp_path / 'output/a.png').write_bytes(bytes(2000))
    full_disk()
    with pytest.raises(OSError, match='File too large'):
        zip_results(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ['output']
