"""Loss weights that change while the training runs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def factor_at(points: Sequence[Sequence[float]], iteration: int) -> float:
    """Return the factor of a loss's weight: interpolated linearly between points, constant before and after them."""
    iterations, factors = zip(*points)
    return float(np.interp(iteration, iterations, factors))
