"""Measuring a whole set of pictures with metrics that an options file names.

Per picture any metric of the host's registry; for the set as a whole ``type: calculate_fid``. What cannot be measured
(a picture without a face, a picture that a metric fails on, a metric without its weights) is left out and reported,
never counted as a number, and takes nothing else along.
"""

from __future__ import annotations

import inspect
import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from basicsr.metrics import calculate_metric
from basicsr.utils.registry import METRIC_REGISTRY

from hifacegan_plugin.metrics.catalogue import FID, METRICS, direction
from hifacegan_plugin.metrics.fid import frechet_distance, inception_features
from hifacegan_plugin.metrics.prerequisites import MetricUnavailableError

logger = logging.getLogger('basicsr.hifacegan_plugin')  # below the host's logger, so that lines reach its log file

HOST_KEYS = ('type', 'better')  # of the options of a metric: read by the host
SIDES = ('restored', 'truth')
NAMED_AT_MOST = 10  # pictures in a line of the log
NOT_MEASURED = 'the process that restored it lacks a package or weights'


class Measurement(NamedTuple):
    """What one picture adds to the figures of its set."""

    name: str
    values: dict[str, float]  # NaN or infinite: this picture could not be measured
    features: dict[str, np.ndarray]  # of the restored and the true picture, for the FID
    failures: Mapping[str, str] = {}  # why a metric failed on this picture


def check_metric(name: str, options: Mapping[str, Any]) -> None:
    """Refuse what cannot work before there are pictures.

    Args:
        name: of the metric in the options file.
        options: its options there.

    Raises:
        ValueError: the metric is unknown, lacks an option or does not take one; its direction is stated wrongly.
    """
    kind = options.get('type')
    if kind != FID and kind not in METRIC_REGISTRY:
        known = ', '.join(sorted({*METRIC_REGISTRY.keys(), FID}))
        raise ValueError(f'val: metrics: {name}: there is no metric {kind!r}. There are: {known}.')
    signature = _signature(kind)
    pictures = {name: None for name in ('img', 'img2') if name in signature.parameters}
    try:
        signature.bind(**pictures, **_own(options))
        direction(options)
    except (TypeError, ValueError) as error:
        raise ValueError(f'val: metrics: {name}: {kind}: {error}') from None


class Meter:
    """Measures pictures one by one; a metric that lacks a package or weights is dropped with one line in the log.

    Args:
        metrics: ``val: metrics:`` of an options file: a name of one's own, and the options of the metric.

    Attributes:
        metrics: those that can be measured, as far as is known.
        unavailable: why each of the others was dropped.

    Raises:
        ValueError: see :func:`check_metric`.
    """

    def __init__(self, metrics: Mapping[str, Mapping[str, Any]]) -> None:
        for name, options in metrics.items():
            check_metric(name, options)
        self.metrics = {name: dict(options) for name, options in metrics.items()}
        self.unavailable: dict[str, str] = {}

    def measure(self, name: str, restored: np.ndarray, truth: np.ndarray | None) -> Measurement:
        """Measure one picture; both are uint8, BGR ``(H, W, 3)`` or grey ``(H, W)``.

        Raises:
            ValueError: a metric needs the true picture, and there is none.
        """
        for metric, options in self.metrics.items():
            if truth is None and _needs_truth(options['type']):
                raise ValueError(f'val: metrics: {metric} needs true pictures, which this data set does not give: '
                                 'take the metric out, or name a dataroot_gt.')
        measurement = Measurement(name, {}, {}, {})
        pictures = {'img': restored} if truth is None else {'img': restored, 'img2': truth}
        for metric, options in list(self.metrics.items()):
            try:
                if options['type'] == FID:
                    for side, picture in zip(SIDES, (restored, truth)):
                        measurement.features[side] = inception_features(picture, **_own(options))
                else:
                    own = {'type': options['type'], **_own(options)}  # `better` is not everybody's to take
                    measurement.values[metric] = float(calculate_metric(pictures, own))
            except MetricUnavailableError as error:
                logger.warning(f'{metric} is left out: {error}')
                self.unavailable[metric] = str(error)
                del self.metrics[metric]
            except Exception as error:  # whatever a metric of any author makes of a picture: named, the rest goes on
                measurement.failures[metric] = str(error) or type(error).__name__
        return measurement

    def summarise(self, measurements: Iterable[Measurement]) -> dict[str, float]:
        """Give each metric's figure for the set: means over the pictures that could be measured, and the FID.

        What could not be measured is named and counted in the log; a metric that measured nothing has NaN.
        """
        measurements = sorted(measurements, key=lambda m: m.name)  # the same sums from any number of processes
        for line in self.describe_unmeasured(measurements, NAMED_AT_MOST):
            logger.warning(line)
        summary = {}
        for metric, options in self.metrics.items():
            if options['type'] == FID:
                summary[metric] = distance_of_set(measurements)
            else:
                values = finite_values(measurements, metric)
                summary[metric] = float(np.mean(values)) if values else math.nan
        return summary

    def is_complete(self, measurement: Measurement) -> bool:
        """Tell whether every metric was tried on the picture and none of them failed."""
        return all(_is_whole(measurement) if options['type'] == FID else metric in measurement.values
                   for metric, options in self.metrics.items())

    def describe_unmeasured(
        self, measurements: Sequence[Measurement], named_at_most: int | None = None
    ) -> list[str]:
        """Say which metric gives no figure for how many and which pictures, and why: a line for each reason."""
        lines = []
        for metric in self.metrics:
            reasons: dict[str, list[str]] = {}
            for measurement in measurements:
                if reason := self._why_unmeasured(metric, measurement):
                    reasons.setdefault(reason, []).append(measurement.name)
            for reason, names in reasons.items():
                more = ', ...' if len(names) > len(names[:named_at_most]) else ''
                lines.append(f'{metric} gives no figure for {len(names)} of {len(measurements)} pictures: '
                             f'{", ".join(names[:named_at_most])}{more} ({reason})')
        return lines

    def _why_unmeasured(self, metric: str, measurement: Measurement) -> str | None:
        if metric in measurement.failures:
            return measurement.failures[metric]
        kind = self.metrics[metric]['type']
        if kind == FID:
            return None if _is_whole(measurement) else NOT_MEASURED
        value = measurement.values.get(metric)
        if value is None:
            return NOT_MEASURED
        if math.isfinite(value):
            return None
        return (METRICS[kind].no_figure if kind in METRICS else '') or f'its value is {value}'


def finite_values(measurements: Iterable[Measurement], metric: str) -> list[float]:
    """Give the figures of the pictures that could be measured."""
    values = (measurement.values.get(metric, math.nan) for measurement in measurements)
    return [value for value in values if math.isfinite(value)]


def with_features(measurements: Iterable[Measurement]) -> list[Measurement]:
    """Give the measurements that the FID can be computed from."""
    return [measurement for measurement in measurements if _is_whole(measurement)]


def distance_of_set(measurements: Iterable[Measurement]) -> float:
    """Give the FID over the pictures that have features, or NaN where those are fewer than two."""
    features = [measurement.features for measurement in with_features(measurements)]
    return frechet_distance(*(np.array([of_picture[side] for of_picture in features]) for side in SIDES))


def _is_whole(measurement: Measurement) -> bool:
    return measurement.features.keys() == set(SIDES)


def _signature(kind: str) -> inspect.Signature:
    return inspect.signature(inception_features if kind == FID else METRIC_REGISTRY.get(kind))


def _needs_truth(kind: str) -> bool:
    return kind == FID or 'img2' in _signature(kind).parameters


def _own(options: Mapping[str, Any]) -> dict[str, Any]:
    """Give the options that are the metric's own."""
    return {key: value for key, value in options.items() if key not in HOST_KEYS}
