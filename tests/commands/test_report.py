"""Tests of the command ``hifacegan report``, with simple images instead of results of ``basicsr.test``."""

import re

import cv2
import numpy as np
import pytest
import yaml
from basicsr.utils import bgr2ycbcr
from skimage import data
from skimage.metrics import peak_signal_noise_ratio

from hifacegan_plugin.__main__ import main

MARGIN = 6  # between the images of a sheet
METRICS = {'psnr': {'type': 'calculate_psnr', 'crop_border': 0}}


@pytest.fixture
def images(tmp_path, monkeypatch):
    """Degraded, restored and ground truth images, BGR, in the folders of a data set and a test."""
    monkeypatch.chdir(tmp_path)
    truth = data.astronaut()[:96, 200:280, ::-1]
    degraded, restored = (cv2.GaussianBlur(truth, None, sigma) for sigma in (3, 1))
    files = {'lq/a': degraded, 'results/trial/visualization/set/a_trial': restored, 'gt/a': truth}
    for name, image in files.items():
        (tmp_path / name).parent.mkdir(parents=True)
        cv2.imwrite(f'{name}.png', image)
    return list(files.values())


def read_sheet(file):
    """Return the images of a sheet of one row."""
    sheet = cv2.imread(file)
    return [sheet[:96, left : left + 80] for left in range(0, sheet.shape[1], 80 + MARGIN)]


def report(folder, dataset, metrics, **options):
    dataset = {'name': 'set', 'dataroot_lq': 'lq', 'io_backend': {'type': 'disk'}, **dataset}
    network = {'model_type': 'HiFaceGANCSRModel', 'num_gpu': 0, 'network_g': {'type': 'CSRGenerator'}}
    val = {'save_img': True, **metrics}
    options = {'name': 'trial', 'path': {}, 'datasets': {'test': dataset}, 'val': val, **network, **options}
    (folder / 'trial.yml').write_text(yaml.safe_dump(options))
    return main(['report', '-opt', 'trial.yml'])


def test_table_and_sheet_of_pairs(images, tmp_path, capsys):
    degraded, restored, truth = images
    assert report(tmp_path, {'type': 'PairedImageDataset', 'dataroot_gt': 'gt'}, {'metrics': METRICS}) == 0
    figures = [float(cell) for cell in capsys.readouterr().out.split('psnr')[1].split('|')[1:3]]
    assert figures == pytest.approx([peak_signal_noise_ratio(truth, side) for side in (degraded, restored)], abs=6e-3)
    assert np.array_equal(read_sheet('results/trial/set_degraded_restored_truth.png'), images)


@pytest.mark.parametrize('color', ['y', 'rgb'])
def test_grey_results_are_measured_in_grey(images, tmp_path, capsys, color):
    restored = cv2.cvtColor(images[1], cv2.COLOR_BGR2GRAY)
    cv2.imwrite('results/trial/visualization/set/a_trial.png', restored)
    dataset = {'type': 'PairedImageDataset', 'dataroot_gt': 'gt', 'color': color}
    assert report(tmp_path, dataset, {'metrics': METRICS}) == 0
    figure = float(capsys.readouterr().out.split('psnr')[1].split('|')[2])
    if color == 'y':
        truth = (bgr2ycbcr(images[2] / np.float32(255), y_only=True) * 255).round()
    else:
        truth = cv2.cvtColor(images[2], cv2.COLOR_BGR2GRAY)
    assert figure == pytest.approx(peak_signal_noise_ratio(truth.astype(np.uint8), restored), abs=6e-3)
    sheet = read_sheet('results/trial/set_degraded_restored_truth.png')
    assert np.array_equal(sheet[1], restored[..., None].repeat(3, axis=2))


@pytest.mark.parametrize('val', [{}, {'metrics': None}])
def test_without_ground_truth_there_are_no_metrics(images, tmp_path, capsys, val):
    assert report(tmp_path, {'type': 'SingleImageDataset'}, val) == 0
    assert 'Images, degraded | restored: results/trial/set_degraded_restored.png' in capsys.readouterr().out
    assert np.array_equal(read_sheet('results/trial/set_degraded_restored.png'), images[:2])


def test_missing_results_are_reported(images, tmp_path, capsys):
    (tmp_path / 'results/trial/visualization/set/a_trial.png').unlink()
    assert report(tmp_path, {'type': 'SingleImageDataset'}, {}) == 2
    assert re.search(r'report: .*a_trial\.png is missing: run `python -m basicsr\.test', capsys.readouterr().err)


def without(option):
    """Return the options of a data set without one of them."""
    options = {'type': 'SingleImageDataset', 'name': 'set', 'dataroot_lq': 'lq', 'io_backend': {'type': 'disk'}}
    return {key: value for key, value in options.items() if key != option}


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'datasets': None}, 'trial.yml: datasets'),
        ({'path': None}, 'trial.yml: path'),
        ({'datasets': {}}, 'trial.yml: datasets: list at least one'),
        ({'datasets': {'test': without('name')}}, 'trial.yml: datasets: test: name is missing'),
        ({'datasets': {'test': without('dataroot_lq')}}, 'datasets: test: SingleImageDataset needs dataroot_lq'),
    ],
)
def test_invalid_options_are_reported(images, tmp_path, capsys, options, message):
    assert report(tmp_path, {'type': 'SingleImageDataset'}, {}, **options) == 2
    assert capsys.readouterr().err.startswith(f'hifacegan report: {message}')


@pytest.mark.parametrize('root', ['nowhere', 'empty'])
def test_a_test_set_without_images_is_reported(images, tmp_path, capsys, root):
    (tmp_path / 'empty').mkdir()
    assert report(tmp_path, {'type': 'SingleImageDataset', 'dataroot_lq': root}, {}) == 2
    assert ('nowhere' if root == 'nowhere' else 'set: no images') in capsys.readouterr().err


def test_a_missing_options_file_is_reported(tmp_path, capsys):
    assert main(['report', '-opt', 'nope.yml']) == 2
    assert 'report: nope.yml cannot be read: No such file' in capsys.readouterr().err


def test_the_table_is_printed_even_if_the_sheet_cannot_be_written(images, tmp_path, capsys, full_disk):
    full_disk()
    assert report(tmp_path, {'type': 'PairedImageDataset', 'dataroot_gt': 'gt'}, {'metrics': METRICS}) == 2
    captured = capsys.readouterr()
    assert '| psnr ' in captured.out
    assert 'Images' not in captured.out
    assert 'set_degraded_restored_truth.png cannot be written (File too large)' in captured.err
    assert not list((tmp_path / 'results/trial').glob('*.png'))
