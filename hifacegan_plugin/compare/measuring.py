"""The metrics of restored pictures, measured once and kept."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from hifacegan_plugin.compare.comparison import TRUTH
from hifacegan_plugin.compare.folder import Folder, open_log, read_log, read_rgb
from hifacegan_plugin.metrics.measure import Measurement, Meter, check_metric


def make_meter(metrics: dict[str, dict[str, Any]]) -> tuple[Meter, list[str]]:
    """Make a meter of the metrics that the host knows, and a line of complaint for each of the others."""
    known, problems = {}, []
    for name, options in metrics.items():
        try:
            check_metric(name, options)
        except ValueError as error:
            problems.append(str(error).removeprefix('val: '))
        else:
            known[name] = options
    return Meter(known), problems


def measure_pictures(
    meter: Meter, test_set: str, label: str, pictures: Iterable[str], made_from: dict[str, Any], folder: Folder
) -> tuple[list[Measurement], list[str]]:
    """Measure what a restorer made of a test set, without what was measured before.

    Args:
        meter: the metrics; one that lacks a package or weights drops out of it.
        test_set: its name.
        label: of the restorer.
        pictures: names of the restored ones.
        made_from: what decides the figures; when it changes, the pictures are measured anew.
        folder: the output folder.

    Returns:
        The measurements, and a line for everything that was not measured.
    """
    log_file = folder.log(test_set, label, 'measured')
    before = {record['name']: record for record in read_log(log_file, made_from)}
    where = f'{test_set}: {label}'
    measurements, problems = [], []
    with open_log(log_file, made_from, list(before.values())) as append:
        for name in tqdm(list(pictures), desc=f'{where}: measure', unit='picture'):
            measurement = _of_record(before[name]) if name in before else None
            if measurement is None or not meter.is_complete(measurement):
                try:
                    restored, truth = (read_rgb(folder.picture(test_set, which, name)) for which in (label, TRUTH))
                except OSError as error:
                    problems.append(f'{where}: {error}')
                    continue
                measurement = meter.measure(name, *(cv2.cvtColor(p, cv2.COLOR_RGB2BGR) for p in (restored, truth)))
                append(_to_record(measurement))
            measurements.append(measurement)
    return measurements, problems + [f'{where}: {line}' for line in meter.describe_unmeasured(measurements)]


def _to_record(measurement: Measurement) -> dict[str, Any]:
    features = {side: values.tolist() for side, values in measurement.features.items()}
    return {**measurement._asdict(), 'features': features}


def _of_record(record: dict[str, Any]) -> Measurement:
    features = {side: np.array(values) for side, values in record['features'].items()}
    return Measurement(**{**record, 'features': features})
