"""Learning rate schedules: a linear decay, which BasicSR does not have, and the schedules that options can name."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from basicsr.models.lr_scheduler import CosineAnnealingRestartLR, MultiStepRestartLR
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler


class LinearDecayLR(LRScheduler):
    """A constant rate, followed by a linear decay to zero (paper: constant for 30 epochs, decay over 20 epochs).

    BasicSR takes the first step of a schedule before its second iteration. Therefore, iteration ``start_iter`` + 1 is
    the last one with the full rate, and iteration ``end_iter`` the last one with a rate above zero.

    Args:
        optimizer: optimiser to schedule.
        start_iter: number of steps before the decay.
        end_iter: number of steps after which the rate is zero.
        last_epoch: index of the last step; -1 starts a new schedule.

    Raises:
        ValueError: the decay does not start before it ends.
    """

    def __init__(self, optimizer: Optimizer, start_iter: int, end_iter: int, last_epoch: int = -1) -> None:
        if not 0 <= start_iter < end_iter:
            raise ValueError(f'scheduler: 0 <= start_iter ({start_iter}) < end_iter ({end_iter}) must hold.')
        self.start_iter = start_iter
        self.end_iter = end_iter
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float | Tensor]:
        """Return the current rate of each parameter group."""
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
        optimizer: optimiser to schedule.
        options: ``type`` and the arguments of that class, which exist.
        total_iter: number of iterations of the training.

    Raises:
        ValueError: the class does not accept a value, or the schedule ends before the training.
    """
    kind, arguments = options['type'], {key: value for key, value in options.items() if key != 'type'}
    try:
        scheduler = SCHEDULERS[kind](optimizer, **arguments)
    except (TypeError, AssertionError) as error:  # BasicSR's schedules raise them for invalid arguments
        raise ValueError(f'train: scheduler: {kind}: {error}.') from error
    if isinstance(scheduler, CosineAnnealingRestartLR) and sum(scheduler.periods) < total_iter - 1:
        raise ValueError(
            f'train: scheduler: periods: {scheduler.periods} end after {sum(scheduler.periods):,} iterations, but '
            f'total_iter is {total_iter:,}: add or lengthen periods.'
        )
    return scheduler


def advance_schedules(update: Callable[[int, int], None], iterations: int, warmup_iter: int) -> None:
    """Advance all schedules by a number of iterations, as if the training had used the current options from the start.

    Args:
        update: ``update_learning_rate`` of a BasicSR model, which takes an iteration and ``warmup_iter``.
        iterations: number of iterations.
        warmup_iter: ``train: warmup_iter``.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', r'Detected call of `lr_scheduler.step\(\)`')  # before optimizer.step()
        for iteration in range(1, iterations + 1):
            update(iteration, warmup_iter)
