"""The metrics of restored images, measured once and kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import cv2
from tqdm import tqdm

from hifacegan_plugin.compare.folder import Folder, open_log, read_log, read_rgb
from hifacegan_plugin.metrics.building import build_metric
from hifacegan_plugin.metrics.metric import Metric
from hifacegan_plugin.schema.comparison import TRUTH


def build_metrics_or_report(section: Mapping[str, Mapping[str, Any]]) -> tuple[list[Metric], list[str]]:
    """Build the metrics that can be built, and return them with a line for each of the others."""
    metrics, problems = [], []
    for name, options in section.items():
        try:
            metrics.append(build_metric(name, options, 'metrics'))
        except ValueError as error:
            problems.append(str(error))
    return metrics, problems


def measure_images(
    metrics: Sequence[Metric],
    test_set: str,
    label: str,
    images: Iterable[str],
    made_from: dict[str, Any],
    folder: Folder,
) -> list[str]:
    """Measure what a restorer made of a test set, except what was measured before; the metrics then hold it.

    Args:
        metrics: are reset first.
        test_set: its name.
        label: of the restorer.
        images: names of the restored images.
        made_from: what the values depend on; when it changes, the images are measured again.
        folder: the output folder.

    Returns:
        A line for everything that was not measured.
    """
    for metric in metrics:
        metric.reset()
    log_file, where, problems = folder.log(test_set, label, 'measured'), f'{test_set}: {label}', []
    before = {record['name']: record['samples'] for record in read_log(log_file, made_from)}
    records = [{'name': name, 'samples': samples} for name, samples in before.items()]
    with open_log(log_file, made_from, records) as append:
        for name in tqdm(list(images), desc=f'{where}: measure', unit='image'):
            samples = before.get(name, {})
            missing = []
            for metric in metrics:
                if metric.name in samples:
                    metric.add(name, samples[metric.name])
                elif not metric.unavailable:
                    missing.append(metric)
            if not missing:
                continue
            try:
                pair = [
                    cv2.cvtColor(read_rgb(folder.image(test_set, which, name)), cv2.COLOR_RGB2BGR)
                    for which in (label, TRUTH)
                ]
            except OSError as error:
                problems.append(f'{where}: {error}')
                continue
            measured = {metric.name: metric.update(name, *pair) for metric in missing}
            new = {metric: sample.tolist() for metric, sample in measured.items() if sample is not None}
            append({'name': name, 'samples': samples | new})
    return problems + [f'{where}: {line}' for metric in metrics for line in metric.describe_unmeasured()]
