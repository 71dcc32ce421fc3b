"""The best figures of a training: which of them count, and those a resumed training goes on from."""

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


def test_each_metric_has_its_direction_and_of_equal_figures_the_later_counts(figures):
    for iteration, psnr, niqe in ((2, 25.0, 7.0), (4, 27.0, 5.0), (6, 27.0, 6.0), (8, math.nan, math.nan)):
        update(figures, iteration, psnr, niqe)
    assert figures.records == {'faces': {'psnr': record('higher', 27.0, 6), 'niqe': record('lower', 5.0, 4)}}


def test_every_data_set_has_a_best_iteration(figures):
    update(figures, 2, 27.0, 5.0)
    update(figures, 2, 21.0, 5.0, 'streets')
    update(figures, 4, 26.0, 5.0)
    update(figures, 4, 22.0, 5.0, 'streets')
    assert figures.iterations('psnr') == {2, 4}
    assert figures.iterations('ssim') == figures.iterations(None) == set()


def test_what_was_never_measured_has_no_iteration(figures):
    update(figures, 2, math.nan, math.nan)
    assert figures.iterations('psnr') == {-1}


def test_a_resumed_training_has_the_figures_that_were_measured_after_its_checkpoint(figures):
    update(figures, 4, 27.0, 5.0)  # the host validates iteration 4 when its checkpoint is written
    resumed = BestFigures(figures.file)
    resumed.resume(4, {'faces': {'psnr': record('higher', 25.0, 2)}})
    assert resumed.records == figures.records


def test_figures_of_later_iterations_belong_to_another_course_of_the_training(figures):
    update(figures, 6, 27.0, 5.0)
    of_checkpoint = {'faces': {'psnr': record('higher', 25.0, 2)}}
    resumed = BestFigures(figures.file)
    resumed.resume(4, of_checkpoint)
    assert resumed.records == of_checkpoint


def test_figures_that_cannot_be_written_do_not_stop_the_training(tmp_path, caplog):
    figures = BestFigures(tmp_path / 'missing' / 'best_figures.json')
    update(figures, 2, 27.0, 5.0)
    assert figures.records['faces']['psnr'] == record('higher', 27.0, 2)
    assert 'The best figures cannot be written' in caplog.text
