"""A metric of an options file as an object, which validation, compare, report and doctor share.

As in torchmetrics, ``update`` measures one pair of images, ``compute`` returns the value for all pairs, and ``reset``
starts again. Images that cannot be measured (without a face, or because the metric fails) and metrics that lack their
weights are skipped and reported. They never count as a number and never stop the other metrics.
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
FOR_THE_METRIC = ('type', 'better', 'region')  # options that are no arguments of its function
NAMED_AT_MOST = 10  # images in a line of the log
NOT_MEASURED = 'the process that restored it lacks a package or weights'


@dataclass
class State:
    """What a metric has gathered, by name of the image; it can be pickled, to be sent between processes.

    Args:
        samples: what each measured image contributes.
        failures: why each of the others was not measured.
    """

    samples: list[tuple[str, np.ndarray]] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)


class Metric(ABC):
    """A metric of an options file.

    Args:
        name: of the metric in the options file.
        function: measures or describes one image; its arguments besides :data:`IMAGES` are the metric's options.
        options: ``type``, perhaps ``region``, ``better`` where it has to be stated, and arguments of the function.

    Attributes:
        name: as above.
        region: the part of the image that it measures, ``face`` or ``background``; None for all of it.
        better: ``higher`` or ``lower``.
        unit: empty for a bare number.
        decimals: that values are printed with.
        needs_ground_truth: whether it compares the restored image with the true one.
        unavailable: why it cannot be measured on this machine; empty until it is known to be so.
        state: what it has gathered since :meth:`reset`.

    Raises:
        ValueError: the direction is stated wrongly.
    """

    needs_ground_truth = True

    def __init__(self, name: str, function: Callable[..., Any], options: Mapping[str, Any]) -> None:
        facts = METRICS.get(options['type'], UNKNOWN)
        self.name, self.better, self.unit, self.decimals = name, direction(options), facts.unit, facts.decimals
        self.region = options.get('region')
        self.unavailable = ''
        self._no_value = facts.no_value
        self._function = function
        self._arguments = {key: value for key, value in options.items() if key not in FOR_THE_METRIC}
        self.reset()

    def reset(self) -> None:
        """Forget all images; :attr:`unavailable` stays."""
        self.state = State()

    def update(self, image: str, restored: np.ndarray, truth: np.ndarray | None) -> np.ndarray | None:
        """Measure one image and gather what it contributes, or why it cannot be measured.

        Args:
            image: its name.
            restored: uint8, BGR ``(H, W, 3)`` or grey ``(H, W)``.
            truth: the ground truth, likewise.

        Returns:
            What the image contributes, which :meth:`add` takes; None where it was not measured.

        Raises:
            ValueError: the metric needs the ground truth, and there is none.
        """
        if truth is None and self.needs_ground_truth:
            raise ValueError(
                f'{self.name} needs the ground truth, which this data set does not have: take the metric '
                'out, or set dataroot_gt.'
            )
        if not self.unavailable:
            try:
                return self.add(image, self.measure(restored, truth))
            except MetricUnavailableError as error:
                self.unavailable = str(error)
            except Exception as error:  # whatever a metric of any author makes of an image: reported, the rest goes on
                self.state.failures.append((image, str(error) or type(error).__name__))
                return None
        self.state.failures.append((image, NOT_MEASURED))
        return None

    def add(self, image: str, sample: ArrayLike) -> np.ndarray:
        """Gather what an image contributes, as :meth:`measure` returned it, perhaps in an earlier run."""
        self.state.samples.append((image, np.asarray(sample)))
        return self.state.samples[-1][1]

    def merge(self, states: Iterable[State]) -> None:
        """Replace the state by the states of all processes together."""
        states = list(states)
        self.state = State(
            list(chain.from_iterable(state.samples for state in states)),
            list(chain.from_iterable(state.failures for state in states)),
        )

    def compute(self) -> float:
        """Return the value for all images that could be measured; NaN where they are too few.

        It is the same to the last bit in whichever order, and in however many processes, the images were measured.
        """
        return self.reduce([sample for _, sample in sorted(self._measured(), key=itemgetter(0))])

    @property
    def title(self) -> str:
        """The name for tables, which tells the region where the metric's own does not."""
        return f'{self.name} ({self.region})' if self.region and self.region not in self.name.lower() else self.name

    @property
    def count(self) -> int:
        """Number of images that :meth:`compute` takes into account."""
        return len(self._measured())

    def values(self) -> dict[str, float]:
        """Return the value of each measured image; nothing for a metric of the whole set."""
        return {}

    def format(self, value: float) -> str:
        """Write a value with the metric's decimals."""
        return f'{value:.{self.decimals}f}'

    def describe_unmeasured(self, named_at_most: int | None = None) -> list[str]:
        """Report how many and which images have no value, and why: a line for each reason.

        Nothing where the metric as a whole is unavailable.
        """
        if self.unavailable:
            return []
        without_value = [(image, reason) for image, sample in self.state.samples if (reason := self._why_none(sample))]
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
        """Return what one image contributes to the value."""

    @abstractmethod
    def reduce(self, samples: Sequence[np.ndarray]) -> float:
        """Return the value for what all images contribute."""

    def _measured(self) -> list[tuple[str, np.ndarray]]:
        return [(image, sample) for image, sample in self.state.samples if not self._why_none(sample)]

    def _why_none(self, sample: np.ndarray) -> str:
        """Return why an image that was measured has no value; empty if it has one."""
        if np.isfinite(sample).all():
            return ''
        if self.region and math.isnan(sample):
            return NO_FACE
        return self._no_value or f'its value is {sample}'


class ImageMetric(Metric):
    """A metric of single images, from the host's registry; for all of them, it is their mean."""

    def __init__(self, name: str, function: Callable[..., Any], options: Mapping[str, Any]) -> None:
        super().__init__(name, function, options)
        self._smallest = METRICS.get(options['type'], UNKNOWN).smallest
        self._images = [image for image in IMAGES if image in inspect.signature(function).parameters]
        self.needs_ground_truth = len(self._images) == len(IMAGES)

    def measure(self, restored: np.ndarray, truth: np.ndarray | None) -> float:
        """Return the metric of one image.

        Raises:
            ValueError: it is too small.
        """
        border = self._arguments.get('crop_border', 0)
        height, width = (side - 2 * border for side in restored.shape[:2])
        if any(side < least for side, least in zip(sorted((height, width)), self._smallest)):
            least = 'x'.join(map(str, self._smallest))
            raise ValueError(f'it takes {least} pixels or more, got {height}x{width} within crop_border: {border}')
        images = dict(zip(self._images, (restored, truth)))
        return float(self._function(**images, **self._arguments))

    def reduce(self, samples: Sequence[np.ndarray]) -> float:
        """Return the mean."""
        return float(np.mean(samples)) if samples else math.nan

    def values(self) -> dict[str, float]:
        """Return the value of each image that has one."""
        return {image: float(sample) for image, sample in self._measured()}


class FrechetInceptionDistance(Metric):
    """The FID of all restored images from all true ones; an image contributes the features of both, ``(2, 2048)``."""

    def measure(self, restored: np.ndarray, truth: np.ndarray | None) -> np.ndarray:
        """Return the features of the restored and the true image."""
        return np.stack([self._function(image, **self._arguments) for image in (restored, truth)])

    def reduce(self, samples: Sequence[np.ndarray]) -> float:
        """Return the distance; NaN for fewer than two images."""
        if len(samples) < 2:
            return math.nan
        features = np.stack(samples)
        return frechet_distance(features[:, 0], features[:, 1])


def summarise(metrics: Iterable[Metric]) -> dict[str, float]:
    """Return the value of each metric that can be measured here, and log what could not be measured.

    A metric that measured nothing has NaN.
    """
    values = {}
    for metric in metrics:
        if metric.unavailable:
            logger.warning(f'{metric.name} is left out: {metric.unavailable}')
            continue
        for line in metric.describe_unmeasured(NAMED_AT_MOST):
            logger.warning(line)
        values[metric.name] = metric.compute()
    return values
