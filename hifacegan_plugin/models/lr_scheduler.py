"""Learning rate schedules: the one that the host lacks, and the choice of one by the options."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from basicsr.models.lr_scheduler import CosineAnnealingRestartLR, MultiStepRestartLR
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler


class LinearDecayLR(LRScheduler):
    """A constant rate, then a linear decay to zero (the paper: constant for 30 epochs, decaying over 20).

    The host takes the first step before its second iteration: the last iteration at the full rate is ``start_iter`` +
    1, the first one at zero ``end_iter`` + 1, so that a training of ``end_iter`` iterations learns to the end.

    Args:
        optimizer: optimiser whose rates follow the schedule.
        start_iter: steps after which the decay begins.
        end_iter: steps after which the rate is zero.
        last_epoch: iteration before the first; -1 starts a new schedule.

    Raises:
        ValueError: if the decay ends before it starts.
    """

    def __init__(self, optimizer: Optimizer, start_iter: int, end_iter: int, last_epoch: int = -1) -> None:
        if not 0 <= start_iter < end_iter:
            raise ValueError(f'scheduler: 0 <= start_iter ({start_iter}) < end_iter ({end_iter}) must hold.')
        self.start_iter = start_iter
        self.end_iter = end_iter
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float | Tensor]:
        """Return the rate of each parameter group at the current iteration."""
        left = (self.end_iter - self.last_epoch) / (self.end_iter - self.start_iter)
        return [rate * min(1.0, max(0.0, left)) for rate in self.base_lrs]


SCHEDULERS = {
    'LinearDecayLR': LinearDecayLR,
    'MultiStepLR': MultiStepRestartLR,
    'MultiStepRestartLR': MultiStepRestartLR,
    'CosineAnnealingRestartLR': CosineAnnealingRestartLR,
}


def build_scheduler(optimizer: Optimizer, options: dict[str, Any], total_iter: int) -> LRScheduler:
    """Build the schedule that ``train: scheduler`` describes.

    Args:
        optimizer: optimiser whose rates follow the schedule.
        options: options of the schedule: ``type``, and the arguments of that class.
        total_iter: iterations of the training.

    Raises:
        ValueError: the type is unknown, its arguments do not fit, or the schedule ends before the training.
    """
    kind, arguments = options['type'], {key: value for key, value in options.items() if key != 'type'}
    if kind not in SCHEDULERS:
        raise ValueError(f'train: scheduler: {kind!r} is not one of {", ".join(SCHEDULERS)}.')
    try:
        scheduler = SCHEDULERS[kind](optimizer, **arguments)
    except (TypeError, AssertionError) as error:  # how the host refuses arguments
        raise ValueError(f'train: scheduler: {kind}: {error}.') from error
    if isinstance(scheduler, CosineAnnealingRestartLR) and sum(scheduler.periods) < total_iter - 1:
        raise ValueError(
            f'train: scheduler: periods: {scheduler.periods} end after {sum(scheduler.periods):,} iterations, but '
            f'total_iter is {total_iter:,}: add or lengthen periods.'
        )
    return scheduler


def advance_schedules(update: Callable[[int, int], None], iterations: int, warmup_iter: int) -> None:
    """Set the learning rates of a training that has run for some iterations with these options from the start.

    Args:
        update: the host's ``update_learning_rate``, which takes an iteration and ``warmup_iter``.
        iterations: that it has run for.
        warmup_iter: ``train: warmup_iter``.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', r'Detected call of `lr_scheduler.step\(\)`')  # before an optimiser's step
        for iteration in range(1, iterations + 1):
            update(iteration, warmup_iter)
