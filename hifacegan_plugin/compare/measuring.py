"""The metrics of restored pictures, measured once and kept."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from hifacegan_plugin.compare.comparison import TRUTH
from hifacegan_plugin.compare.folder import Folder, open_log, read_log, read_rgb
from hifacegan_plugin.metrics.measure import FID, Measurement, Meter
from hifacegan_plugin.metrics.measure import logger as meter_logger


def make_meter(metrics: dict[str, dict[str, Any]]) -> tuple[Meter, list[str]]:
    """Make a meter of the metrics that the host knows, and a line of complaint for each of the others."""
    known, problems = {}, []
    for name, options in metrics.items():
        try:
            Meter({name: options}, with_truth=True)
        except ValueError as error:
            problems.append(str(error).removeprefix('val: '))
        else:
            known[name] = options
    return Meter(known, with_truth=True), problems


def measure_pictures(
    meter: Meter, test_set: str, label: str, pictures: Iterable[str], made_from: dict[str, Any], folder: Folder
) -> tuple[list[Measurement], list[str]]:
    """Measure what a restorer made of a test set, without what was measured before.

    Args:
        meter: the metrics; one that lacks weights drops out of it, with a line in the log.
        test_set: its name.
        label: of the restorer.
        pictures: names of the restored ones.
        made_from: what decides the figures; when it changes, the pictures are measured anew.
        folder: the output folder.

    Returns:
        The measurements, and a line for each picture that a metric failed on.
    """
    log_file = folder.log(test_set, label, 'measured')
    before = {record['name']: record for record in read_log(log_file, made_from)}
    measurements = []
    with _collect_warnings() as problems, open_log(log_file, made_from, list(before.values())) as append:
        for name in tqdm(list(pictures), desc=f'{test_set}: {label}: measure', unit='picture'):
            record = before.get(name)
            if record is None or not _is_complete(record, meter):
                restored, truth = (read_rgb(folder.picture(test_set, which, name)) for which in (label, TRUTH))
                try:
                    measured = meter.measure(name, *(cv2.cvtColor(p, cv2.COLOR_RGB2BGR) for p in (restored, truth)))
                except Exception as error:  # whatever a metric makes of a picture: named and counted, the rest goes on
                    reason = str(error) or type(error).__name__
                    problems.append(f'{test_set}: {label}: {name} could not be measured: {reason}')
                    continue
                features = {side: values.tolist() for side, values in measured.features.items()}
                record = {'name': name, 'values': measured.values, 'features': features}
                append(record)
            features = {side: np.array(values) for side, values in record['features'].items()}
            measurements.append(Measurement(name, record['values'], features))
    return measurements, problems


@contextmanager
def _collect_warnings() -> Iterator[list[str]]:
    """Gather what the meter warns of, such as a metric that it leaves out."""
    lines: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: lines.append(f'metrics: {record.getMessage()}')
    meter_logger.addHandler(handler)
    try:
        yield lines
    finally:
        meter_logger.removeHandler(handler)


def unmeasured(meter: Meter, measurements: list[Measurement]) -> list[str]:
    """Give a line for each metric that gave no figure for some pictures, such as those in which no face is found."""
    lines = []
    for metric, options in meter.metrics.items():
        names = [m.name for m in measurements if not math.isfinite(m.values.get(metric, math.nan))]
        if names and options['type'] != FID:
            share = f'{len(names)} of {len(measurements)} pictures'
            lines.append(f'{metric} gives no figure for {share}: {", ".join(names)}')
    return lines


def values_of(measurements: Iterable[Measurement], metric: str) -> list[float]:
    """Give the figures of the pictures that could be measured."""
    values = (measurement.values.get(metric, math.nan) for measurement in measurements)
    return [value for value in values if math.isfinite(value)]


def _is_complete(record: dict[str, Any], meter: Meter) -> bool:
    return all(record['features'] if options['type'] == FID else metric in record['values']
               for metric, options in meter.metrics.items())
