"""Tests of the best values of a training, also when it is resumed."""

import math

import pytest

from hifacegan_plugin.models.best_figures import BestFigures

DIRECTIONS = {'psnr': 'higher', 'niqe': 'lower'}


@pytest.fixture
def figures(tmp_path) -> BestFigures:
    return BestFigures(tmp_path / 'best_figures.json')


def update(best: BestFigures, iteration: int, psnr: float, niqe: float, data_set: str = 'faces') -> None:
    best.update(data_set, {'psnr': psnr, 'niqe': niqe}, DIRECTIONS, iteration)


def record(better: str, value: float, iteration: int) -> dict:
    return {'better': better, 'val': value, 'iter': iteration}


def test_best_values_by_direction_and_later_equal_values(figures):
    for iteration, psnr, niqe in ((2, 25.0, 7.0), (4, 27.0, 5.0), (6, 27.0, 6.0), (8, math.nan, math.nan)):
        update(figures, iteration, psnr, niqe)
    assert figures.records == {'faces': {'psnr': record('higher', 27.0, 6), 'niqe': record('lower', 5.0, 4)}}


def test_best_iterations_of_several_data_sets(figures):
    update(figures, 2, 27.0, 5.0)
    update(figures, 2, 21.0, 5.0, 'streets')
    update(figures, 4, 26.0, 5.0)
    update(figures, 4, 22.0, 5.0, 'streets')
    assert figures.iterations('psnr') == {2, 4}
    assert figures.iterations('ssim') == figures.iterations(None) == set()


def test_a_metric_that_was_never_measured_has_iteration_minus_one(figures):
    update(figures, 2, math.nan, math.nan)
    assert figures.iterations('psnr') == {-1}


def test_resuming_keeps_values_measured_after_the_checkpoint(figures):
    update(figures, 4, 27.0, 5.0)  # the host validates iteration 4 after it has written the checkpoint
    resumed = BestFigures(figures.file)
    resumed.resume(4, {'faces': {'psnr': record('higher', 25.0, 2)}})
    assert resumed.records == figures.records


def test_resuming_discards_values_of_later_iterations(figures):
    update(figures, 6, 27.0, 5.0)
    of_checkpoint = {'faces': {'psnr': record('higher', 25.0, 2)}}
    resumed = BestFigures(figures.file)
    resumed.resume(4, of_checkpoint)
    assert resumed.records == of_checkpoint


def test_a_write_error_does_not_stop_the_training(tmp_path, caplog):
    (tmp_path / 'file').touch()
    figures = BestFigures(tmp_path / 'file' / 'best_figures.json')
    update(figures, 2, 27.0, 5.0)
    assert figures.records['faces']['psnr'] == record('higher', 27.0, 2)
    assert 'The best figures cannot be written' in caplog.text
