"""Loss weights that change while the training runs."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

Points = list[tuple[int, float]]  # (iteration, factor)


def check_loss_weight_schedule(schedule: dict[str, Points], losses: Iterable[str]) -> None:
    """Refuse schedules that fit no loss or are none.

    Args:
        schedule: ``train: loss_weight_schedule``.
        losses: the losses of this training that a schedule may name.

    Raises:
        ValueError: names the loss and what is wrong.
    """
    for name, points in schedule.items():
        if name not in losses:
            raise ValueError(
                f'train: loss_weight_schedule: {name} is no loss of this training. There are: {", ".join(losses)}.'
            )
        if not points or any(np.size(point) != 2 for point in points) or np.any(np.diff([x for x, _ in points]) <= 0):
            raise ValueError(
                f'train: loss_weight_schedule: {name}: give points [iteration, factor] with rising iterations, such '
                f'as [[10000, 0], [20000, 1]]; got {points}.'
            )


def factor_at(points: Points, iteration: int) -> float:
    """Return the factor of a loss's weight: interpolated linearly between points, constant before and after them."""
    iterations, factors = zip(*points)
    return float(np.interp(iteration, iterations, factors))
