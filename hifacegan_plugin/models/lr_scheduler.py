"""Learning rate schedules that the host lacks."""

from __future__ import annotations

from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

FROM_OPTIONS = ('start_iter', 'end_iter', 'base_lrs')


class LinearDecayLR(LRScheduler):
    """A constant rate, then a linear decay to zero (the paper: constant for 30 epochs, decaying over 20).

    The host takes the first step before its second iteration: the last one at the full rate is ``start_iter`` + 1, the
    first one at zero ``end_iter`` + 1, so that a training of ``end_iter`` iterations learns to the end.

    Args:
        optimizer: whose rates follow the schedule.
        start_iter: steps after which the decay begins.
        end_iter: steps after which the rate is zero.
        last_epoch: iteration before the first; -1 starts afresh.

    Raises:
        ValueError: if the decay ends before it starts.
    """

    def __init__(self, optimizer: Optimizer, start_iter: int, end_iter: int, last_epoch: int = -1) -> None:
        if not 0 <= start_iter < end_iter:
            raise ValueError(f'scheduler: 0 <= start_iter ({start_iter}) < end_iter ({end_iter}) must hold.')
        self.start_iter = start_iter
        self.end_iter = end_iter
        super().__init__(optimizer, last_epoch)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where the state was taken, with the rates that the options say now: a training may be extended."""
        super().load_state_dict({key: value for key, value in state_dict.items() if key not in FROM_OPTIONS})

    def get_lr(self) -> list[float]:
        """Give the rate of each parameter group at the current iteration."""
        left = (self.end_iter - self.last_epoch) / (self.end_iter - self.start_iter)
        return [rate * min(1.0, max(0.0, left)) for rate in self.base_lrs]
