"""Tests of the command ``hifacegan inspect-degradations``."""

import subprocess
import sys

import numpy as np
import pytest
from commands_in_process import run_command
from conftest import REPOSITORY
from PIL import Image
from skimage import data
from skimage.metrics import peak_signal_noise_ratio

from hifacegan_plugin.commands.inspect_degradations import degraded_rows
from hifacegan_plugin.data.degradations import RECIPES
from hifacegan_plugin.images.sheets import LABEL_HEIGHT, MARGIN

DATA_PREP = REPOSITORY / 'data_prep'


@pytest.fixture(scope='module')
def image(tmp_path_factory):
    path = tmp_path_factory.mktemp('inspect') / 'cat.png'
    Image.fromarray(data.chelsea()[:256, :256]).save(path)
    return path


def test_the_command_makes_a_sheet_of_all_recipes(image, tmp_path):
    script = DATA_PREP / 'inspect_degradations.py'
    done = subprocess.run(
        [sys.executable, script, '-i', image, '-o', tmp_path / 'x.png', '--size', '64', '--draws', '3'],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in RECIPES)
    sheet = np.asarray(Image.open(tmp_path / 'x.png'))
    assert sheet.shape == (len(RECIPES) * (LABEL_HEIGHT + 64 + MARGIN), 4 * (64 + MARGIN), 3)


def test_rows_hold_the_clean_image_and_its_degradations():
    image = data.chelsea()[:64, :64]
    rows = degraded_rows(image, list(RECIPES), draws=2, seed=0)
    for name, ((clean_title, clean), *draws) in zip(RECIPES, rows, strict=True):
        assert clean_title == 'clean'
        np.testing.assert_array_equal(clean, image)
        for title, degraded in draws:
            assert title == f'{name}  {peak_signal_noise_ratio(image, degraded):.1f} dB'
    (_, first), (_, second) = rows[list(RECIPES).index('noise')][1:]
    assert (first != second).any()


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['-i', 'gone.png', '-o', 'x.png'], 'gone.png cannot be read (No such file'),
        (['-i', __file__, '-o', 'x.png'], 'is not an image'),
        (['-i', '{image}', '-o', 'x.jpg'], 'the name must end in .png'),
        (['-i', '{image}', '-o', 'x.png', '--seed', '-1'], "'-1': expected a whole number of at least 0"),
        (['-i', '{image}', '-o', 'x.png', '--size', '20000'], 'pixels, and more than 150,000,000 once resized'),
        (['-i', '{image}', '-o', '/dev/null/x.png'], "'/dev/null/x.png': /dev/null is not a folder"),
        (['-i', '{image}', '-o', 'x.png', '--recipes', 'nois'], "Did you mean 'noise'?"),
    ],
)
def test_invalid_arguments_are_reported(image, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    arguments = (argument.format(image=image) for argument in arguments)
    assert message in run_command('inspect-degradations', *arguments, status=2).stderr
    assert not list(tmp_path.iterdir())
