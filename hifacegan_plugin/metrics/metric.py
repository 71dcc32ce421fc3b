"""Metrics as objects, for validation, compare, report and doctor.

As in torchmetrics, ``update`` measures a pair of images, ``compute`` returns the value for all pairs, and ``reset``
clears the state. Images that cannot be measured (without a face, or because the metric fails) and metrics without their
weights are skipped and reported; other images and metrics are not affected.
"""

from __future__ import annotations

import inspect
import logging
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from hifacegan_plugin.metrics.catalogue import METRICS, UNKNOWN, direction
from hifacegan_plugin.metrics.fid import frechet_distance
from hifacegan_plugin.metrics.prerequisites import MetricUnavailableError
from hifacegan_plugin.metrics.region import NO_FACE

logger = logging.getLogger('basicsr.hifacegan_plugin')  # below the host's logger, so that lines reach its log file

IMAGES = ('img', 'img2')  # arguments of a metric's function: the restored image and the ground truth
METRIC_OPTIONS = ('type', 'better', 'region')  # options that are not arguments of the metric's function
NAMED_AT_MOST = 10  # number of images that a log line names
NOT_MEASURED = 'the process that restored it lacks a package or weights'


@dataclass
class State:
    """The state of a metric, which processes exchange.

    Args:
        samples: names and contributions of the measured images, see :meth:`Metric.measure`.
        failures: names of the other images, and why they were not measured.
    """

    samples: list[tuple[str, np.ndarray]] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)


class Metric(ABC):
    """A metric over a set of images.

    Args:
        name: name in the options file.
        function: function of one image or pair; its arguments besides :data:`IMAGES` are options of the metric.
        options: ``type``, optionally ``region`` and ``better``, and arguments of the function.

    Attributes:
        name: name in the options file.
        region: measured part of the image, ``face`` or ``background``; None for the whole image.
        better: ``higher`` or ``lower``.
        unit: unit; empty for a pure number.
        decimals: number of decimals to print.
        needs_ground_truth: whether the function takes the ground truth.
        unavailable: why the metric cannot be measured on this machine, found by :meth:`update`; empty if it can.
        state: images measured since :meth:`reset`.

    Raises:
        ValueError: ``better`` is wrong for this metric.
    """

    needs_ground_truth = True

    def __init__(self, name: str, function: Callable[..., Any], options: Mapping[str, Any]) -> None:
        facts = METRICS.get(options['type'], UNKNOWN)
        self.name, self.better, self.unit, self.decimals = name, direction(options), facts.unit, facts.decimals
        self.region = options.get('region')
        self.unavailable = ''
        self._no_value = facts.no_value
        self._function = function
        self._arguments = {key: value for key, value in options.items() if key not in METRIC_OPTIONS}
        self.reset()

    def reset(self) -> None:
        """Forget all images; :attr:`unavailable` stays."""
        self.state = State()

    def update(self, image: str, restored: np.ndarray, truth: np.ndarray | None) -> np.ndarray | None:
        """Measure one image and add it to the state.

        Args:
            image: name of the image.
            restored: restored image, uint8 BGR ``(H, W, 3)`` or grey ``(H, W)``.
            truth: ground truth of the same shape, or None.

        Returns:
            The contribution of the image, as taken by :meth:`add`; None if it could not be measured.

        Raises:
            ValueError: the metric needs ground truth, and ``truth`` is None.
        """
        if truth is None and self.needs_ground_truth:
            raise ValueError(
                f'{self.name} needs the ground truth, which this data set does not have: remove the metric, or set '
                'dataroot_gt.'
            )
        if not self.unavailable:
            try:
                return self.add(image, self.measure(restored, truth))
            except MetricUnavailableError as error:
                self.unavailable = str(error)
            except Exception as error:  # metrics of other packages may raise anything; report it and continue
                self.state.failures.append((image, str(error) or type(error).__name__))
                return None
        self.state.failures.append((image, NOT_MEASURED))
        return None

    def add(self, image: str, sample: ArrayLike) -> np.ndarray:
        """Add the contribution of an image, as returned by :meth:`measure`, perhaps in an earlier run."""
        self.state.samples.append((image, np.asarray(sample)))
        return self.state.samples[-1][1]

    def merge(self, states: Iterable[State]) -> None:
        """Replace the state by the combined states of all processes."""
        states = list(states)
        self.state = State(
            list(chain.from_iterable(state.samples for state in states)),
            list(chain.from_iterable(state.failures for state in states)),
        )

    def compute(self) -> float:
        """Return the value for all measured images; NaN if there are too few.

        The result does not depend on the order of the images or the number of processes, to the last bit.
        """
        return self.reduce([sample for _, sample in sorted(self._measured(), key=itemgetter(0))])

    @property
    def title(self) -> str:
        """The name for tables, with the region appended unless the name contains it."""
        return f'{self.name} ({self.region})' if self.region and self.region not in self.name.lower() else self.name

    @property
    def count(self) -> int:
        """The number of images that :meth:`compute` uses."""
        return len(self._measured())

    def values(self) -> dict[str, float]:
        """Return the value of each measured image; empty for a metric of the whole set."""
        return {}

    def format(self, value: float) -> str:
        """Format a value with the metric's decimals."""
        return f'{value:.{self.decimals}f}'

    def describe_unmeasured(self, named_at_most: int | None = None) -> list[str]:
        """Return a message for each reason why images have no value, with their number and names.

        Empty if the metric is unavailable.
        """
        if self.unavailable:
            return []
        without_value = [(image, reason) for image, sample in self.state.samples if (reason := self._problem(sample))]
        reasons: dict[str, list[str]] = {}
        for image, reason in sorted(without_value + self.state.failures):
            reasons.setdefault(reason, []).append(image)
        total = len(self.state.samples) + len(self.state.failures)
        return [
            f'{self.name} has no value for {len(images)} of {total} images: {", ".join(images[:named_at_most])}'
            f'{", ..." if len(images) > len(images[:named_at_most]) else ""} ({reason})'
            for reason, images in reasons.items()
        ]

    @abstractmethod
    def measure(self, restored: np.ndarray, truth: np.ndarray | None) -> ArrayLike:
        """Return the contribution of one image to the value."""

    @abstractmethod
    def reduce(self, samples: Sequence[np.ndarray]) -> float:
        """Return the value for the contributions of all images."""

    def _measured(self) -> list[tuple[str, np.ndarray]]:
        return [(image, sample) for image, sample in self.state.samples if not self._problem(sample)]

    def _problem(self, sample: np.ndarray) -> str:
        """Return why a measured image has no value; empty if it has one."""
        if np.isfinite(sample).all():
            return ''
        if self.region and math.isnan(sample):
            return NO_FACE
        return self._no_value or f'its value is {sample}'


class ImageMetric(Metric):
    """The mean of a registered metric over all images."""

    def __init__(self, name: str, function: Callable[..., Any], options: Mapping[str, Any]) -> None:
        super().__init__(name, function, options)
        self._smallest = METRICS.get(options['type'], UNKNOWN).smallest
        self._images = [image for image in IMAGES if image in inspect.signature(function).parameters]
        self.needs_ground_truth = len(self._images) == len(IMAGES)

    def measure(self, restored: np.ndarray, truth: np.ndarray | None) -> float:
        """Return the metric of one image.

        Raises:
            ValueError: the image is too small.
        """
        border = self._arguments.get('crop_border', 0)
        height, width = (side - 2 * border for side in restored.shape[:2])
        if any(side < least for side, least in zip(sorted((height, width)), self._smallest)):
            least = 'x'.join(map(str, self._smallest))
            raise ValueError(f'needs at least {least} pixels, got {height}x{width} within crop_border: {border}')
        images = dict(zip(self._images, (restored, truth)))
        return float(self._function(**images, **self._arguments))

    def reduce(self, samples: Sequence[np.ndarray]) -> float:
        """Return the mean."""
        return float(np.mean(samples)) if samples else math.nan

    def values(self) -> dict[str, float]:
        """Return the value of each image that has one."""
        return {image: float(sample) for image, sample in self._measured()}


class FrechetInceptionDistance(Metric):
    """The FID between restored images and ground truth; an image contributes features ``(2, 2048)`` of both."""

    def measure(self, restored: np.ndarray, truth: np.ndarray | None) -> np.ndarray:
        """Return the features of the restored image and the ground truth."""
        return np.stack([self._function(image, **self._arguments) for image in (restored, truth)])

    def reduce(self, samples: Sequence[np.ndarray]) -> float:
        """Return the distance; NaN for fewer than two images."""
        if len(samples) < 2:
            return math.nan
        features = np.stack(samples)
        return frechet_distance(features[:, 0], features[:, 1])


def summarise(metrics: Iterable[Metric]) -> dict[str, float]:
    """Return the value of each available metric, NaN if it measured nothing, and log what could not be measured."""
    values = {}
    for metric in metrics:
        if metric.unavailable:
            logger.warning(f'{metric.name} is left out: {metric.unavailable}')
            continue
        for line in metric.describe_unmeasured(NAMED_AT_MOST):
            logger.warning(line)
        values[metric.name] = metric.compute()
    return values
