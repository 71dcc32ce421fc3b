"""Results of a comparison: the rows of its tables."""

from __future__ import annotations

import math
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import cv2
import torch

import hifacegan_plugin
from hifacegan_plugin.compare.comparison import Comparison
from hifacegan_plugin.compare.image_sets import ImageSet
from hifacegan_plugin.compare.intervals import bootstrap_interval, paired_interval
from hifacegan_plugin.metrics.metric import Metric


@dataclass(frozen=True)
class Figure:
    """The value of a metric for a restorer on a test set, or the difference between two restorers.

    Args:
        mean: mean of the values or differences of the images; for a metric of the whole set, its value.
        low: lower bound of the 95 % bootstrap confidence interval; NaN if there is none.
        high: upper bound.
        images: number of measured images.
    """

    mean: float
    low: float
    high: float
    images: int


@dataclass(frozen=True)
class Row:
    """The results of a restorer on a test set.

    Args:
        label: label of the restorer.
        restored: number of restored images.
        images: number of images of the test set.
        figures: value of each metric; metrics that could not be measured are missing.
        values: value of each metric for each image.
        parameters: number of parameters; None if the restorer failed.
        gflop: operations of the network in 10^9; None without a network.
        gflop_input: height and width of the network's input for ``gflop``.
        milliseconds: median time per image; None for results of another program.
        peak_mib: increase of memory over that of the process at its start, at the peak, in 2^20 bytes.
        error: why the restorer failed, if it did.
        differences: for each metric of single images, the difference from the restorer ``against``, over the images on
            which both were measured.
    """

    label: str
    restored: int
    images: int
    figures: dict[str, Figure]
    values: dict[str, dict[str, float]]
    parameters: int | None = None
    gflop: float | None = None
    gflop_input: list[int] | None = None
    milliseconds: float | None = None
    peak_mib: float | None = None
    error: str | None = None
    differences: dict[str, Figure] = field(default_factory=dict)


@dataclass
class Results:
    """The results of a comparison.

    Args:
        comparison: options.
        metrics: metrics that could be built.
        tables: rows of each test set.
        machine: date, device and software.
        left_out: a message for everything that was skipped.
    """

    comparison: Comparison
    metrics: Sequence[Metric]
    tables: Sequence[tuple[ImageSet, list[Row]]]
    machine: dict[str, str]
    left_out: list[str] = field(default_factory=list)


def make_row(
    label: str, metrics: Sequence[Metric], images: list[str], records: list[dict[str, Any]], summary: dict[str, Any]
) -> Row:
    """Combine the results of a restorer on a test set.

    Args:
        label: label of the restorer.
        metrics: metrics, updated with the restored images.
        images: names of the images of the test set.
        records: records of the images, see :class:`~hifacegan_plugin.compare.job.Job`.
        summary: summary of the restorer's process.
    """
    times, peaks = ([record[key] for record in records if key in record] for key in ('milliseconds', 'peak_mib'))
    figures = {metric.name: _figure(metric) for metric in metrics}
    found: dict[str, Any] = {key: summary.get(key) for key in ('parameters', 'gflop', 'gflop_input', 'error')}
    return Row(
        label=label,
        restored=sum('error' not in record for record in records),
        images=len(images),
        figures={name: figure for name, figure in figures.items() if not math.isnan(figure.mean)},
        values={metric.name: metric.values() for metric in metrics},
        milliseconds=statistics.median(times) if times else None,
        peak_mib=max(peaks, default=None),
        **found,
    )


def _figure(metric: Metric) -> Figure:
    return Figure(metric.compute(), *bootstrap_interval(list(metric.values().values())), metric.count)


def best_rows(rows: Sequence[Row], metric: Metric) -> list[Row]:
    """Return the rows with the best mean of a metric, among those measured on all measurable images.

    An image counts as measurable if any row has a value for it; some metrics have none for images without a face.
    """
    measured = [row for row in rows if metric.name in row.figures]
    images = {image for row in measured for image in row.values.get(metric.name, ())}  # empty for the FID
    complete = [row for row in measured if row.figures[metric.name].images == (len(images) or row.images)]
    if not complete:
        return []
    best = (max if metric.better == 'higher' else min)(row.figures[metric.name].mean for row in complete)
    return [row for row in complete if row.figures[metric.name].mean == best]


def with_differences(rows: Sequence[Row], against: str) -> list[Row]:
    """Return the rows of a test set with their differences from the restorer ``against``."""
    reference = next(row for row in rows if row.label == against)
    return [row if row is reference else replace(row, differences=_differences(row, reference)) for row in rows]


def _differences(row: Row, reference: Row) -> dict[str, Figure]:
    """Return mean differences between a row and a reference, over the images on which both were measured."""
    figures = {}
    for metric, values in row.values.items():
        others = reference.values.get(metric, {})
        differences = [value - others[image] for image, value in values.items() if image in others]
        if differences:
            figures[metric] = Figure(statistics.fmean(differences), *paired_interval(differences), len(differences))
    return figures


def describe_machine() -> dict[str, str]:
    """Return date, device and software versions."""
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
