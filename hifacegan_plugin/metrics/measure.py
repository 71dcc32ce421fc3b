"""Measuring a whole set of pictures with metrics that an options file names.

Per picture any metric of the host's registry; for the set as a whole ``type: calculate_fid``. What cannot be measured
(a picture without a face, a metric without its weights) is left out and reported, never counted as a number.
"""

from __future__ import annotations

import inspect
import logging
import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from basicsr.metrics import calculate_metric
from basicsr.utils.registry import METRIC_REGISTRY

from hifacegan_plugin.metrics.fid import frechet_distance, inception_features
from hifacegan_plugin.metrics.prerequisites import MetricUnavailableError

logger = logging.getLogger('basicsr.hifacegan_plugin')  # below the host's logger, so that lines reach its log file

FID = 'calculate_fid'
HOST_KEYS = ('type', 'better')  # of the options of a metric: read by the host


class Measurement(NamedTuple):
    """What one picture adds to the figures of its set."""

    name: str
    values: dict[str, float]  # NaN: this picture could not be measured
    features: dict[str, np.ndarray]  # of the restored and the true picture, for the FID


class Meter:
    """Measures pictures one by one; a metric that lacks a package or weights is dropped with one line in the log.

    Args:
        metrics: ``val: metrics:`` of an options file: a name of one's own, and the options of the metric.
        with_truth: whether there are true pictures to compare with.

    Raises:
        ValueError: a metric is unknown, or needs the truth that is not there.
    """

    def __init__(self, metrics: Mapping[str, Mapping[str, Any]], with_truth: bool) -> None:
        for name, options in metrics.items():
            kind = options['type']
            if kind != FID and kind not in METRIC_REGISTRY:
                known = ', '.join(sorted([*METRIC_REGISTRY.keys(), FID]))
                raise ValueError(f'val: metrics: {name}: there is no metric {kind!r}. There are: {known}.')
            signature = inspect.signature(inception_features if kind == FID else METRIC_REGISTRY.get(kind))
            if (kind == FID or 'img2' in signature.parameters) and not with_truth:
                raise ValueError(f'val: metrics: {name} needs true pictures, which this data set does not give: '
                                 'take the metric out, or name a dataroot_gt.')
            try:
                signature.bind_partial(**{key: value for key, value in options.items() if key not in HOST_KEYS})
            except TypeError as error:
                raise ValueError(f'val: metrics: {name}: {kind}: {error}.') from None
        self.metrics = {name: dict(options) for name, options in metrics.items()}

    def measure(self, name: str, restored: np.ndarray, truth: np.ndarray | None) -> Measurement:
        """Measure one picture; both are uint8 BGR ``(H, W, 3)``."""
        values, features = {}, {}
        pictures = {'img': restored} if truth is None else {'img': restored, 'img2': truth}
        for metric, options in list(self.metrics.items()):
            try:
                if options['type'] == FID:
                    features = {'restored': inception_features(restored), 'truth': inception_features(truth)}
                else:
                    values[metric] = float(calculate_metric(pictures, options))
            except MetricUnavailableError as error:
                logger.warning(f'{metric} is left out: {error}')
                del self.metrics[metric]
        return Measurement(name, values, features)

    def summarise(self, measurements: Iterable[Measurement]) -> dict[str, float]:
        """Give each metric's figure for the set: means over the pictures that could be measured, and the FID."""
        measurements = sorted(measurements, key=lambda m: m.name)  # the same sums from any number of processes
        summary = {}
        for metric, options in self.metrics.items():
            if options['type'] == FID:
                sides = [np.array([m.features[side] for m in measurements]) for side in ('restored', 'truth')]
                summary[metric] = frechet_distance(*sides)
                continue
            values = [m.values.get(metric, math.nan) for m in measurements]
            measured = [value for value in values if not math.isnan(value)]
            if len(measured) < len(values):
                logger.warning(f'{metric}: {len(values) - len(measured)} of {len(values)} pictures not measured')
            summary[metric] = float(np.mean(measured)) if measured else math.nan
        return summary
