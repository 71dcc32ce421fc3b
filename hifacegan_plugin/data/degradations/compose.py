"""Building recipes, and steps that combine other steps: in order, shuffled, one of several, sometimes or repeated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np

from hifacegan_plugin.data.degradations.recipes import RECIPES
from hifacegan_plugin.data.degradations.registry import (
    DEGRADATIONS,
    Chance,
    Integer,
    Step,
    build_step,
    drawn,
    is_number,
)
from hifacegan_plugin.schema.problem import did_you_mean

Recipe = str | dict[str, Any] | Step | Sequence['Recipe']


def build_degradation(recipe: Recipe) -> Step:
    """Build a degradation.

    Args:
        recipe: the name of a recipe (see :data:`RECIPES`), one step as a mapping, or a list of these, run in order.

    Returns:
        A callable ``degradation(image, rng, log=None)``, see :class:`Step`.

    Raises:
        ValueError: an unknown recipe, step, option or value; the message lists the valid ones.
    """
    if isinstance(recipe, Step):
        return recipe
    if isinstance(recipe, str):
        if recipe not in RECIPES:
            raise ValueError(
                f'unknown degradation recipe {recipe!r}{did_you_mean(recipe, RECIPES)} They are: {", ".join(RECIPES)}'
            )
        return build_degradation(RECIPES[recipe])
    if isinstance(recipe, dict):
        return build_step(recipe)
    if isinstance(recipe, (list, tuple)):
        return InOrder(recipe)
    raise ValueError(f'a degradation is the name of a recipe, a step ({{type: ...}}) or a list of them, not {recipe!r}')


@dataclass
class Combination(Step):
    """A step made of other steps; each may be given in any form that :func:`build_degradation` takes."""

    steps: Sequence[Any]  # recipes as they are given, steps once they are built

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.steps, (str, dict)) or not isinstance(self.steps, Sequence):
            raise ValueError(f'degradation step {type(self).__name__}: steps takes a list, not {self.steps!r}')
        self.steps = [build_degradation(step) for step in self.steps]

    def choose(self, rng: np.random.Generator) -> Sequence[Step]:
        """Draw the steps to run, in order."""
        return self.steps

    def __call__(
        self,
        image: np.ndarray,
        rng: np.random.Generator,
        log: list[dict[str, Any]] | None = None,
        depth: np.ndarray | None = None,
    ) -> np.ndarray:
        """Run the chosen steps; see :class:`Step`. Only the steps themselves are logged."""
        for step in self.choose(rng):
            image = step(image, rng, log, depth)
        return image


@DEGRADATIONS.register_module()
@dataclass
class InOrder(Combination):
    """All the steps in order; a bare list in a recipe means this, and an empty one changes nothing."""


@DEGRADATIONS.register_module()
@dataclass
class Shuffle(Combination):
    """All the steps, in a random order for each image."""

    def choose(self, rng: np.random.Generator) -> Sequence[Step]:
        """See :class:`Combination`."""
        return [self.steps[i] for i in rng.permutation(len(self.steps))]


@DEGRADATIONS.register_module()
@dataclass
class OneOf(Combination):
    """One of the steps, with probabilities proportional to ``weights``; by default, all are equally likely."""

    weights: Sequence[float] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.steps:
            raise ValueError('degradation step OneOf: steps is empty')
        weights = [1] * len(self.steps) if self.weights is None else self.weights
        are_numbers = isinstance(weights, (list, tuple)) and all(map(is_number, weights))
        if not are_numbers or len(weights) != len(self.steps) or min(weights) < 0 or not 0 < sum(weights) < inf:
            raise ValueError(
                f'degradation step OneOf: weights takes one number >= 0 for each of the '
                f'{len(self.steps)} steps, not {self.weights!r}'
            )
        self._cumulative = np.cumsum(weights) / np.sum(weights)

    def choose(self, rng: np.random.Generator) -> Sequence[Step]:
        """See :class:`Combination`."""
        return [self.steps[int(np.searchsorted(self._cumulative, rng.random(), side='right'))]]


@DEGRADATIONS.register_module()
@dataclass
class Sometimes(Combination):
    """All the steps in order with ``probability``, otherwise none of them."""

    probability: float = drawn(0.5, Chance())

    def choose(self, rng: np.random.Generator) -> Sequence[Step]:
        """See :class:`Combination`."""
        return self.steps if self.draw(rng)['probability'] else []


@DEGRADATIONS.register_module()
@dataclass
class Repeat(Combination):
    """All the steps in order, ``times`` times."""

    times: tuple[int, int] = drawn((1, 2), Integer(at_least=0))

    def choose(self, rng: np.random.Generator) -> Sequence[Step]:
        """See :class:`Combination`."""
        return self.steps * self.draw(rng)['times']
