"""Build the model and train two iterations, to estimate time and memory."""

from __future__ import annotations

import copy
import logging
import math
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from basicsr.data import build_dataset
from basicsr.models import build_model
from basicsr.utils import tensor2img
from torch.utils.data import default_collate

from hifacegan_plugin.metrics.building import build_metrics
from hifacegan_plugin.models.stop_signal import signals_left_alone
from hifacegan_plugin.schema.problem import Problem, describe_error
from hifacegan_plugin.system.files import nearest_existing
from hifacegan_plugin.system.memory import describe_peak_memory

FREE_FOR = 2  # checkpoints: the new one and the one before it


def rehearse(opt: dict[str, Any], iterate: bool) -> tuple[list[str], list[Problem]]:
    """Build the model and, if ``iterate`` is set, train two iterations, without writing into the experiment.

    Returns:
        Lines with estimates of time, memory and disk space, and problems.
    """
    lines: list[str] = []
    problems: list[Problem] = []
    with _quiet_model(opt) as opt_here:
        try:
            with signals_left_alone():  # Ctrl-C ends the doctor
                model = build_model(opt_here)
            if opt['is_train']:
                size = checkpoint_size(model)
                lines.append(f'a checkpoint takes about {size / 1e9:,.2f} GB')
                problems += check_disk(opt, size)
            if iterate:
                lines += time_training(model, opt)
        except Exception as error:  # any error here would also stop the training
            problems.append(Problem(f'The model fails: {describe_error(error)}', 'see above, and docs/training.md'))
    return lines, problems


@contextmanager
def _quiet_model(opt: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield options with a temporary folder for checkpoints, and silence the log below warnings."""
    opt = copy.deepcopy(opt)
    logging.disable(logging.INFO)
    try:
        with tempfile.TemporaryDirectory() as folder:
            for name in ('models', 'training_states'):
                opt['path'][name] = str(Path(folder) / name)
            yield opt
    finally:
        logging.disable(logging.NOTSET)


def checkpoint_size(model: Any) -> int:
    """Estimate the size of a checkpoint in bytes: all weights, and Adam's two moments of all trained parameters."""
    networks = (getattr(model, name, None) for name in ('net_g', 'net_g_ema', 'net_d'))
    weights = sum(value.nbytes for network in networks if network for value in network.state_dict().values())
    groups = (group for optimizer in model.optimizers for group in optimizer.param_groups)
    return weights + 2 * sum(parameter.nbytes for group in groups for parameter in group['params'])


def check_disk(opt: dict[str, Any], checkpoint: int) -> Iterator[Problem]:
    """Check that the checkpoints fit on the disk."""
    folder = Path(opt['path']['experiments_root']).resolve()
    existing = nearest_existing(folder)
    free = shutil.disk_usage(existing).free
    saved = math.ceil(opt['train']['total_iter'] / opt['logger']['save_checkpoint_freq'])  # one at the end
    kept = min(saved, opt['train'].get('keep_last') or saved)
    what = f'{existing} has {free / 1e9:,.1f} GB free; {{}} checkpoints take about {{:,.1f}} GB.'
    if free < FREE_FOR * checkpoint:
        yield Problem(what.format(FREE_FOR, FREE_FOR * checkpoint / 1e9), 'free space, or set path: experiments_root')
    elif free < kept * checkpoint:
        yield Problem(
            what.format(kept, kept * checkpoint / 1e9),
            f'set train: keep_last: {int(free / checkpoint) // 2 or 1} to keep fewer',
            stops=False,
        )


def time_training(model: Any, opt: dict[str, Any]) -> list[str]:
    """Return lines with time and memory of the training, the time of its validations, and the losses."""
    seconds, losses = train_two_iterations(model, opt)
    iterations = int(opt['train']['total_iter'])
    lines = [
        f'an iteration takes {seconds:.3g} s without reading images ({_duration(seconds * iterations)} for all), '
        f'and {describe_peak_memory(model.device)} of memory',
        'losses: ' + ', '.join(f'{name} {value:.3g}' for name, value in losses.items()),
    ]
    validation = sum(validate_one_image(model, opt, options) * count for options, count in validation_sets(opt))
    if validation:
        times = iterations // int(opt['val']['val_freq']) + 1  # the host validates once more at the end
        lines.insert(
            1,
            f'a validation takes {_duration(validation)} ({_duration(times * validation)} for all {times:,}); '
            f'iterations and validations take {_duration(times * validation + seconds * iterations)}',
        )
    return lines


def _duration(seconds: float) -> timedelta:
    return timedelta(seconds=round(seconds))


def validation_sets(opt: dict[str, Any]) -> Iterator[tuple[dict[str, Any], int]]:
    """Yield the options and the number of images of each validation set."""
    if opt.get('val'):
        for options in opt['datasets'].values():
            if options['phase'] == 'val':
                yield options, len(build_dataset(options))


def validate_one_image(model: Any, opt: dict[str, Any], options: dict[str, Any]) -> float:
    """Read, restore and measure the first image of a data set twice; return the seconds of the second time."""
    dataset, metrics = build_dataset(options), build_metrics(opt['val'].get('metrics'))
    for _ in range(2):  # the first is a warm-up
        start = time.monotonic()
        model.feed_data(default_collate([dataset[0]]))
        model.test()
        images = {name: tensor2img(image) for name, image in model.get_current_visuals().items()}
        for metric in metrics:
            metric.update('', images['result'], images.get('gt'))
        seconds = time.monotonic() - start
    return seconds


def train_two_iterations(model: Any, opt: dict[str, Any]) -> tuple[float, dict[str, float]]:
    """Train on two batches; return the seconds and losses of the second one. The first is a warm-up."""
    options = opt['datasets']['train']
    dataset, size = build_dataset(options), options['batch_size_per_gpu']
    for iteration in (1, 2):
        batch = default_collate([dataset[index % len(dataset)] for index in range(size)])
        start = time.monotonic()
        model.update_learning_rate(iteration, warmup_iter=opt['train'].get('warmup_iter', -1))
        model.feed_data(batch)
        model.optimize_parameters(iteration)
        losses = model.get_current_log()  # numbers, which waits for the device
        seconds = time.monotonic() - start
    return seconds, losses
