"""Additive noise, drawn per pixel and channel, rounded to grey levels and clipped at 0 and 255.

Every noise is given by its quantile function at 2^16 evenly spaced probabilities. A table of these, rounded to grey
levels, is indexed by 16 random bits per value: exact to 2^-16 in probability, several times as fast as drawing floats,
and the same on every machine, since only integers are involved once the table stands.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from statistics import NormalDist

import cv2
import numpy as np

from hifacegan_plugin.data.degradations.registry import DEGRADATIONS, Chance, Step, Uniform, drawn

_LEVELS = 1 << 16
_PROBABILITIES = (np.arange(_LEVELS) + 0.5) / _LEVELS
_CHUNK = 1 << 16  # values at a time, so that what is between the random bits and the result stays in the cache


def _random_words(rng: np.random.Generator, count: int) -> np.ndarray:
    """Draw ``count`` integers that are uniform on [0, 2^16)."""
    return rng.bit_generator.random_raw(-(-count // 4)).astype('<u8', copy=False).view('<u2')[:count]


def _add_from_table(image: np.ndarray, rng: np.random.Generator, quantiles: np.ndarray) -> np.ndarray:
    """Add to every value of ``image`` an independent draw from the 2^16 equally likely ``quantiles``."""
    table = np.rint(quantiles).astype(np.int16)
    noisy = np.empty(image.size, np.uint8)
    clean = image.reshape(-1)
    for start in range(0, image.size, _CHUNK):
        part = clean[start : start + _CHUNK]
        values = table.take(_random_words(rng, part.size))
        values += part
        np.clip(values, 0, 255, out=noisy[start : start + _CHUNK], casting='unsafe')
    return noisy.reshape(image.shape)


def _add_grey(image: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Add the same ``noise``, int16 (H, W), to all channels."""
    return np.clip(image + noise[..., None], 0, 255).astype(np.uint8)


@cache
def _standard_normal_quantiles() -> np.ndarray:
    inverse = NormalDist().inv_cdf
    return np.array([inverse(p) for p in _PROBABILITIES.tolist()], np.float32)


@cache
def _standard_laplace_quantiles() -> np.ndarray:
    centred = _PROBABILITIES - 0.5
    return (-np.sign(centred) * np.log1p(-2 * np.abs(centred))).astype(np.float32)


def _poisson_quantiles(rate: float, levels: int) -> np.ndarray:
    counts = np.arange(int(rate + 12 * rate**0.5) + 12)
    mass = np.exp(-rate) * np.cumprod(np.concatenate(([1.0], rate / counts[1:])))
    up_to = np.rint(np.cumsum(mass) * levels).astype(int)
    return np.repeat(counts, np.diff(up_to, prepend=0))


@DEGRADATIONS.register_module()
@dataclass
class GaussianNoise(Step):
    """Normal noise of standard deviation ``sigma`` (grey levels); with probability ``grey``, equal in all channels."""

    sigma: tuple[float, float] = drawn((20, 40), Uniform(at_least=0, at_most=1000))
    grey: float = drawn(0, Chance())

    def apply(self, image: np.ndarray, rng: np.random.Generator, sigma: float, grey: bool) -> np.ndarray:
        """See :class:`Step`."""
        quantiles = sigma * _standard_normal_quantiles()
        if grey:
            noise = np.rint(quantiles).astype(np.int16).take(_random_words(rng, image[..., 0].size))
            return _add_grey(image, noise.reshape(image.shape[:2]))
        return _add_from_table(image, rng, quantiles)


@DEGRADATIONS.register_module()
@dataclass
class LaplaceNoise(Step):
    """Laplace noise of the given ``scale`` (grey levels); its standard deviation is √2 times that."""

    scale: tuple[float, float] = drawn((20, 40), Uniform(at_least=0, at_most=1000))

    def apply(self, image: np.ndarray, rng: np.random.Generator, scale: float) -> np.ndarray:
        """See :class:`Step`."""
        return _add_from_table(image, rng, scale * _standard_laplace_quantiles())


@DEGRADATIONS.register_module()
@dataclass
class PoissonNoise(Step):
    """Adds or subtracts, with equal probability, a Poisson count of ``rate`` (grey levels), independent of the image.

    For the shot noise of a sensor see :class:`ShotNoise`.
    """

    rate: tuple[float, float] = drawn((15, 30), Uniform(at_least=0, at_most=255))

    def apply(self, image: np.ndarray, rng: np.random.Generator, rate: float) -> np.ndarray:
        """See :class:`Step`."""
        counts = _poisson_quantiles(rate, _LEVELS // 2)
        return _add_from_table(image, rng, np.concatenate((counts, -counts)))


_SHOT_LEVELS = 1 << 12


@cache
def _shot_noise_table() -> np.ndarray:
    """The quantiles of Poisson(v) - v for every grey level v at 2^12 evenly spaced probabilities, flattened."""
    return np.concatenate([_poisson_quantiles(v, _SHOT_LEVELS) - v for v in range(256)]).astype(np.int16)


@DEGRADATIONS.register_module()
@dataclass
class ShotNoise(Step):
    """The noise of counting photons, as in a sensor: its variance is proportional to the brightness.

    The noise is ``scale`` (Poisson(v) - v), where v is the grey level. With probability ``grey``, v is the luma, and
    the noise is the same in all channels.
    """

    scale: tuple[float, float] = drawn((0.05, 3), Uniform(at_least=0, at_most=100))
    grey: float = drawn(0, Chance())

    def apply(self, image: np.ndarray, rng: np.random.Generator, scale: float, grey: bool) -> np.ndarray:
        """See :class:`Step`."""
        grey = grey and image.shape[2] == 3
        level = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) if grey else image
        cell = _random_words(rng, level.size).reshape(level.shape) >> 4
        noise = _shot_noise_table().take(level.astype(np.int32) * _SHOT_LEVELS + cell)
        noise = np.rint(noise * np.float32(scale)).astype(np.int16)
        return _add_grey(image, noise) if grey else np.clip(image + noise, 0, 255).astype(np.uint8)
