"""The rows of the table."""

from __future__ import annotations

import math
import os
import platform
import statistics
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

import hifacegan_plugin
from hifacegan_plugin.compare.intervals import bootstrap_interval
from hifacegan_plugin.metrics.catalogue import FID
from hifacegan_plugin.metrics.measure import Measurement, distance_of_set, finite_values, with_features


@dataclass(frozen=True)
class Figure:
    """A metric of a restorer on a test set.

    Args:
        mean: over the pictures; of the FID, its value for the whole set.
        low: lower bound of the 95 % bootstrap interval; NaN where there is none.
        high: upper bound.
        pictures: that it is the mean of.
    """

    mean: float
    low: float
    high: float
    pictures: int


@dataclass(frozen=True)
class Row:
    """A restorer on a test set.

    Args:
        label: of the restorer.
        restored: number of pictures that it restored.
        pictures: number of pictures of the test set.
        figures: by metric; a metric that could not be measured at all is not there.
        values: by metric and picture.
        parameters: number of them; None where the restorer failed.
        gflop: operations of the network, in 10^9; None: no network.
        gflop_input: height and width of the network's input that they are counted for.
        milliseconds: median time of a picture.
        peak_mib: memory in use at most, beyond what the process took before, in 2^20 bytes.
        error: why the restorer as a whole failed.
    """

    label: str
    restored: int
    pictures: int
    figures: dict[str, Figure]
    values: dict[str, dict[str, float]]
    parameters: int | None = None
    gflop: float | None = None
    gflop_input: list[int] | None = None
    milliseconds: float | None = None
    peak_mib: float | None = None
    error: str | None = None


def make_row(
    label: str,
    metrics: dict[str, dict[str, Any]],
    pictures: list[str],
    records: list[dict[str, Any]],
    measurements: list[Measurement],
    summary: dict[str, Any],
) -> Row:
    """Gather what is known of a restorer on a test set.

    Args:
        label: of the restorer.
        metrics: of the options file.
        pictures: names of the test set.
        records: the log of restoring.
        measurements: of the restored pictures.
        summary: what the restorer's process found out.
    """
    times, peaks = ([record[key] for record in records if key in record] for key in ('milliseconds', 'peak_mib'))
    figures = {metric: _figure(options, metric, measurements) for metric, options in metrics.items()}
    values = {metric: {m.name: m.values[metric] for m in measurements if math.isfinite(m.values.get(metric, math.nan))}
              for metric in metrics}
    return Row(
        label=label,
        restored=len(times),
        pictures=len(pictures),
        figures={metric: figure for metric, figure in figures.items() if figure},
        values=values,
        milliseconds=statistics.median(times) if times else None,
        peak_mib=max(peaks, default=None),
        **{key: summary.get(key) for key in ('parameters', 'gflop', 'gflop_input', 'error')},
    )


def _figure(options: dict[str, Any], metric: str, measurements: list[Measurement]) -> Figure | None:
    if options['type'] == FID:
        measured = with_features(measurements)
        return Figure(distance_of_set(measured), math.nan, math.nan, len(measured)) if len(measured) > 1 else None
    values = finite_values(measurements, metric)
    return Figure(float(np.mean(values)), *bootstrap_interval(values), len(values)) if values else None


def best_rows(rows: list[Row], metric: str, higher: bool) -> list[Row]:
    """Give the rows with the best mean of a metric, among those measured on every picture that any was measured on.

    A picture without a face has no figure of some metrics, whoever restored it.
    """
    measured = [row for row in rows if metric in row.figures]
    names = {name for row in measured for name in row.values.get(metric, ())}  # none: of the set as a whole
    complete = [row for row in measured if row.figures[metric].pictures == (len(names) or row.pictures)]
    if not complete:
        return []
    best = (max if higher else min)(row.figures[metric].mean for row in complete)
    return [row for row in complete if row.figures[metric].mean == best]


def describe_machine() -> dict[str, str]:
    """Say where and when the figures were measured."""
    return {
        'date': datetime.now(timezone.utc).strftime('%Y-%m-%d %H:%M UTC'),
        'device': torch.cuda.get_device_name() if torch.cuda.is_available() else _cpu_name(),
        'threads': f'{torch.get_num_threads()} of {os.cpu_count()} cores',
        'software': f'hifacegan_plugin {hifacegan_plugin.__version__}, torch {torch.__version__}, OpenCV '
                    f'{cv2.__version__}, Python {platform.python_version()}, {platform.system()}',
    }


def _cpu_name() -> str:
    cpuinfo = Path('/proc/cpuinfo')
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    names = [line.partition(':')[2].strip() for line in lines if line.startswith('model name')]
    return names[0] if names else platform.processor() or platform.machine()
