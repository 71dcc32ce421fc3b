"""The registry of degradation steps and their base class.

A step is a small dataclass. Its fields are the ranges from which its parameters are drawn, so an options file can write
it as a mapping: ``{type: GaussianNoise, sigma: [20, 40]}``. Calling a step draws the parameters and applies them; all
randomness comes from the given generator.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

import numpy as np
from mmengine.registry import Registry

from hifacegan_plugin.schema.problem import did_you_mean

DEGRADATIONS = Registry('degradation step', scope='hifacegan_plugin')


def is_number(value: Any) -> bool:
    """Return whether the value of an option is a number; true and false are not."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


@dataclass(frozen=True)
class Uniform:
    """A real parameter, drawn uniformly between two bounds; a single number stands for itself."""

    at_least: float = -math.inf
    at_most: float = math.inf

    def check(self, value: float | Sequence[float]) -> tuple[float, float]:
        """Return ``value`` as ``(low, high)``; raise ValueError if it is not a range within the limits."""
        bounds = value if isinstance(value, (list, tuple)) else (value, value)
        if len(bounds) != 2 or not all(map(is_number, bounds)):
            raise ValueError(f'takes a number or [low, high], not {value!r}')
        low, high = bounds
        if not self.at_least <= low <= high <= self.at_most or math.inf in (-low, high):
            raise ValueError(f'needs {self.at_least} <= low <= high <= {self.at_most}, but is {value!r}')
        return low, high

    def draw(self, rng: np.random.Generator, bounds: tuple[float, float]) -> float:
        """Draw one value from U(low, high)."""
        return float(rng.uniform(*bounds))


@dataclass(frozen=True)
class Integer(Uniform):
    """An integer parameter, drawn uniformly from low to high (both included)."""

    def check(self, value: float | Sequence[float]) -> tuple[int, int]:
        """Return ``value`` as ``(low, high)``; raise ValueError if it is not an integer range within the limits."""
        low, high = super().check(value)
        if int(low) != low or int(high) != high:
            raise ValueError(f'takes whole numbers, not {value!r}')
        return int(low), int(high)

    def draw(self, rng: np.random.Generator, bounds: tuple[float, float]) -> int:
        """Draw one value from {low, ..., high}."""
        low, high = map(int, bounds)
        return int(rng.integers(low, high, endpoint=True))


@dataclass(frozen=True)
class Odd(Integer):
    """An odd integer parameter, drawn uniformly from low to high (both included)."""

    def check(self, value: float | Sequence[float]) -> tuple[int, int]:
        """Return ``value`` as ``(low, high)``; raise ValueError if there is no odd number between them."""
        low, high = super().check(value)
        if low == high and low % 2 == 0:
            raise ValueError(f'takes odd numbers, not {value!r}')
        return low, high

    def draw(self, rng: np.random.Generator, bounds: tuple[float, float]) -> int:
        """Draw one odd value from {low, ..., high}."""
        low, high = map(int, bounds)
        return 2 * int(rng.integers(low // 2, (high - 1) // 2, endpoint=True)) + 1


@dataclass(frozen=True)
class Choice:
    """A named parameter: one name, or a list of names, drawn uniformly."""

    among: tuple[str, ...]

    def check(self, value: str | Sequence[str]) -> tuple[str, ...]:
        """Return ``value`` as a tuple of names; raise ValueError where one of them is unknown."""
        names = tuple(value) if isinstance(value, (list, tuple)) else (value,)
        for name in names:
            if name not in self.among:
                raise ValueError(f'takes {", ".join(self.among)}, not {name!r}{did_you_mean(name, self.among)}')
        if not names:
            raise ValueError(f'is empty; it takes one or more of {", ".join(self.among)}')
        return names

    def draw(self, rng: np.random.Generator, names: tuple[str, ...]) -> str:
        """Draw one of the names."""
        return names[rng.integers(len(names))]


@dataclass(frozen=True)
class Chance:
    """A yes-or-no parameter, given as the probability of yes."""

    def check(self, value: float) -> float:
        """Return ``value``; raise ValueError if it is not a probability."""
        if not isinstance(value, (int, float)) or not 0 <= value <= 1:
            raise ValueError(f'takes a probability between 0 and 1, not {value!r}')
        return float(value)

    def draw(self, rng: np.random.Generator, probability: float) -> bool:
        """Draw yes with the given probability."""
        return bool(rng.random() < probability)


Parameter = Uniform | Integer | Choice | Chance


def drawn(default: Any, parameter: Parameter) -> Any:
    """Declare a dataclass field that holds the range of a drawn parameter (by default, ``default``)."""
    return field(default=default, metadata={'parameter': parameter})


@dataclass
class Step:
    """A degradation of an image.

    Subclasses declare the ranges of their parameters with :func:`drawn` and write :meth:`apply`.
    A step keeps no state: it may be shared, pickled and called in any order.

    Attributes:
        takes_depth: whether :meth:`apply` takes ``depth`` besides its parameters.

    Raises:
        ValueError: a range is invalid or lies outside the limits; the message names step and option.
    """

    takes_depth: ClassVar[bool] = False

    def __post_init__(self) -> None:
        for f in fields(self):
            if 'parameter' in f.metadata:
                try:
                    setattr(self, f.name, f.metadata['parameter'].check(getattr(self, f.name)))
                except ValueError as e:
                    raise ValueError(f'degradation step {type(self).__name__}: {f.name} {e}') from None

    def draw(self, rng: np.random.Generator) -> dict[str, Any]:
        """Draw every parameter, in the order of declaration."""
        return {
            f.name: f.metadata['parameter'].draw(rng, getattr(self, f.name))
            for f in fields(self)
            if 'parameter' in f.metadata
        }

    def apply(self, image: np.ndarray, rng: np.random.Generator, *args: Any, **parameters: Any) -> np.ndarray:
        """Degrade ``image`` with the given parameters; ``rng`` serves what is drawn per pixel.

        Args:
            image: uint8, (H, W, 3) RGB or (H, W, 1) grey. It is not written to.
            rng: the only source of randomness.
            *args: none; subclasses declare their parameters instead of these two.
            **parameters: as returned by :meth:`draw`.

        Returns:
            uint8, with as many channels ((H, W) will do for grey); of another size only where the step resizes.
        """
        raise NotImplementedError

    def __call__(
        self,
        image: np.ndarray,
        rng: np.random.Generator,
        log: list[dict[str, Any]] | None = None,
        depth: np.ndarray | None = None,
    ) -> np.ndarray:
        """Draw the parameters and apply them.

        Args:
            image: uint8, (H, W, 3) RGB or (H, W, 1) grey. It is not written to.
            rng: the only source of randomness.
            log: where given, ``{'type': name of the step, parameter: drawn value, ...}`` is appended to it.
            depth: where known, how far the scene is: float (H, W), from 0 (near) to 1. Only haze asks for it.

        Returns:
            uint8, with as many channels; of another size only where the step resizes.
        """
        where = {'depth': depth} if self.takes_depth else {}
        degraded = self.apply(image, rng, **self._draw_and_log(rng, log), **where)
        return np.atleast_3d(degraded)  # OpenCV drops a single channel

    def _draw_and_log(self, rng: np.random.Generator, log: list[dict[str, Any]] | None) -> dict[str, Any]:
        parameters = self.draw(rng)
        if log is not None:
            log.append({'type': type(self).__name__, **parameters})
        return parameters


def build_step(config: dict[str, Any]) -> Step:
    """Build one registered step from ``{'type': name, option: value, ...}``.

    Raises:
        ValueError: no ``type``, or an unknown type, option or value; the message lists the valid ones.
    """
    options = dict(config)
    name = options.pop('type', None)
    known = sorted(DEGRADATIONS.module_dict)
    if name is None:
        raise ValueError(f'a degradation step needs a type; the types are {", ".join(known)}; got {config!r}')
    if name not in known:
        raise ValueError(f'unknown degradation step {name!r}{did_you_mean(name, known)} They are: {", ".join(known)}')
    cls = DEGRADATIONS.module_dict[name]  # its get() would import torch to look into other registries
    takes = [f.name for f in fields(cls)]
    for option in options:
        if option not in takes:
            raise ValueError(
                f'degradation step {name} has no option {option!r}{did_you_mean(option, takes)} '
                f'It takes: {", ".join(takes) or "none"}'
            )
    missing = [f.name for f in fields(cls) if f.name == 'steps' and f.name not in options]
    if missing:
        raise ValueError(f'degradation step {name} needs its list of steps: {{type: {name}, steps: [...]}}')
    return cls(**options)
