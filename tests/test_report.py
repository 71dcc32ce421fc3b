"""``hifacegan report`` on pictures that stand in for what ``basicsr.test`` restored."""

import cv2
import numpy as np
import pytest
import yaml
from skimage import data
from skimage.metrics import peak_signal_noise_ratio

from hifacegan_plugin.__main__ import main

METRICS = {'psnr': {'type': 'calculate_psnr', 'crop_border': 0}}


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    """Degraded, restored and true picture, BGR, where the data set and the test would have them."""
    monkeypatch.chdir(tmp_path)
    truth = data.astronaut()[:96, 200:280, ::-1]
    degraded, restored = (cv2.GaussianBlur(truth, None, sigma) for sigma in (3, 1))
    files = {'lq/a': degraded, 'results/trial/visualization/set/a_trial': restored, 'gt/a': truth}
    for name, picture in files.items():
        (tmp_path / name).parent.mkdir(parents=True)
        cv2.imwrite(f'{name}.png', picture)
    return list(files.values())


def report(folder, dataset, metrics):
    dataset = {'name': 'set', 'dataroot_lq': 'lq', 'io_backend': {'type': 'disk'}, **dataset}
    options = {'name': 'trial', 'path': {}, 'datasets': {'test': dataset}, 'val': metrics}
    (folder / 'trial.yml').write_text(yaml.safe_dump(options))
    return main(['report', '-opt', 'trial.yml'])


def test_measures_pairs_and_lays_them_out(pictures, tmp_path, capsys):
    degraded, restored, truth = pictures
    assert report(tmp_path, {'type': 'PairedImageDataset', 'dataroot_gt': 'gt'}, {'metrics': METRICS}) == 0
    figures = [float(cell) for cell in capsys.readouterr().out.split('psnr')[1].split('|')[1:3]]
    assert figures == pytest.approx([peak_signal_noise_ratio(truth, side) for side in (degraded, restored)], abs=1e-4)
    sheet = cv2.imread('results/trial/set_degraded_restored_truth.png')
    assert np.array_equal(sheet[:96], np.hstack(pictures))


@pytest.mark.parametrize('val', [{}, {'metrics': None}])
def test_without_the_truth_there_are_two_columns_and_no_figures(pictures, tmp_path, capsys, val):
    assert report(tmp_path, {'type': 'SingleImageDataset'}, val) == 0
    assert 'Pictures, degraded | restored: results/trial/set_degraded_restored.png' in capsys.readouterr().out
    assert np.array_equal(cv2.imread('results/trial/set_degraded_restored.png')[:96], np.hstack(pictures[:2]))


def test_what_was_not_restored_is_named(pictures, tmp_path):
    (tmp_path / 'results/trial/visualization/set/a_trial.png').unlink()
    with pytest.raises(SystemExit, match=r'a_trial\.png is missing: run `python -m basicsr\.test'):
        report(tmp_path, {'type': 'SingleImageDataset'}, {})
