"""Loss of resolution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hifacegan_plugin.data.degradations.compose import Combination
from hifacegan_plugin.data.degradations.registry import DEGRADATIONS, Choice, Integer, Step, Uniform, drawn
from hifacegan_plugin.images.resizing import INTERPOLATIONS, resize


def _scaled(length: int, ratio: float) -> int:
    return max(1, round(length * ratio))


@DEGRADATIONS.register_module()
@dataclass
class Resize(Step):
    """Resize to ``ratio`` times the size, without resizing back."""

    ratio: tuple[float, float] = drawn((1 / 8, 1 / 4), Uniform(at_least=1e-3, at_most=16))
    interpolation: tuple[str, ...] = drawn('cubic', Choice(tuple(INTERPOLATIONS)))

    def apply(self, image: np.ndarray, rng: np.random.Generator, ratio: float, interpolation: str) -> np.ndarray:
        """See :class:`Step`."""
        height, width = image.shape[:2]
        return resize(image, _scaled(height, ratio), _scaled(width, ratio), interpolation)


@DEGRADATIONS.register_module()
@dataclass
class Downsample(Step):
    """Resize to 1/``factor`` of the size, with a uniformly drawn ``factor``.

    :class:`Resize` draws the ratio uniformly instead. A factor below 1 enlarges.
    """

    factor: tuple[float, float] = drawn((1, 4), Uniform(at_least=1 / 16, at_most=1000))
    interpolation: tuple[str, ...] = drawn('area', Choice(tuple(INTERPOLATIONS)))

    def apply(self, image: np.ndarray, rng: np.random.Generator, factor: float, interpolation: str) -> np.ndarray:
        """See :class:`Step`."""
        height, width = image.shape[:2]
        return resize(image, _scaled(height, 1 / factor), _scaled(width, 1 / factor), interpolation)


@DEGRADATIONS.register_module()
@dataclass
class ResizeBack(Combination):
    """All the steps in order, then a resize to ``ratio`` times the original size."""

    ratio: tuple[float, float] = drawn(1, Uniform(at_least=1e-3, at_most=16))
    interpolation: tuple[str, ...] = drawn('cubic', Choice(tuple(INTERPOLATIONS)))

    def __call__(
        self,
        image: np.ndarray,
        rng: np.random.Generator,
        log: list[dict[str, Any]] | None = None,
        depth: np.ndarray | None = None,
    ) -> np.ndarray:
        """See :class:`Step`."""
        height, width = image.shape[:2]
        image = super().__call__(image, rng, log, depth)
        parameters = self._draw_and_log(rng, log)
        ratio = parameters['ratio']
        return resize(image, _scaled(height, ratio), _scaled(width, ratio), parameters['interpolation'])


@DEGRADATIONS.register_module()
@dataclass
class Mosaic(Step):
    """Blocks of ``block`` x ``block`` pixels replaced by their means."""

    block: tuple[int, int] = drawn(16, Integer(at_least=1))

    def apply(self, image: np.ndarray, rng: np.random.Generator, block: int) -> np.ndarray:
        """See :class:`Step`."""
        height, width = image.shape[:2]
        rows, columns = np.arange(0, height, block), np.arange(0, width, block)
        sums = np.add.reduceat(np.add.reduceat(image, rows, axis=0, dtype=np.uint32), columns, axis=1)
        counts = np.outer(np.diff(rows, append=height), np.diff(columns, append=width))[..., None]
        means = ((2 * sums + counts) // (2 * counts)).astype(np.uint8)
        return means.repeat(block, axis=0)[:height].repeat(block, axis=1)[:, :width]
