"""Measure restored images, and keep the values for later runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
from tqdm import tqdm

from hifacegan_plugin.compare.folder import open_log, read_log
from hifacegan_plugin.compare.image_sets import ImageSet
from hifacegan_plugin.compare.job import Job
from hifacegan_plugin.metrics.building import build_metric
from hifacegan_plugin.metrics.metric import Metric
from hifacegan_plugin.schema.comparison import TRUTH


def build_available_metrics(section: Mapping[str, Mapping[str, Any]]) -> tuple[list[Metric], list[str]]:
    """Build metrics; return those that can be built, and an error message for each of the others."""
    metrics, problems = [], []
    for name, options in section.items():
        try:
            metrics.append(build_metric(name, options, 'metrics'))
        except ValueError as error:
            problems.append(str(error))
    return metrics, problems


def measure_images(
    metrics: Sequence[Metric], options: Mapping[str, Mapping[str, Any]], job: Job, test_set: ImageSet
) -> list[str]:
    """Measure the images that a restorer restored; values of an earlier run are reused.

    Args:
        metrics: metrics to reset and update.
        options: options of all metrics; if they or the restored images change, all images are measured again.
        job: the restorer's job.
        test_set: the restored test set.

    Returns:
        A message for each image or metric that could not be measured.
    """
    for metric in metrics:
        metric.reset()
    folder, where, problems = job.folder, f'{test_set.name}: {job.label}', []
    made_from = {'restored': job.made_from[test_set.name], 'options': options}
    log_file = folder.log(test_set.name, job.label, 'measured')
    before = {record['name']: record['samples'] for record in read_log(log_file, made_from)}
    records = [{'name': name, 'samples': samples} for name, samples in before.items()]
    done = {record['name'] for record in job.done(test_set.name)}
    images = [name for name in test_set.images if name in done]
    with open_log(log_file, made_from, records) as append:
        for name in tqdm(images, desc=f'{where}: measure', unit='image'):
            samples = before.get(name, {})
            for metric in metrics:
                if metric.name in samples:
                    metric.add(name, samples[metric.name])
            missing = [metric for metric in metrics if metric.name not in samples and not metric.unavailable]
            if not missing:
                continue
            try:
                pair = [
                    cv2.cvtColor(folder.read_image(test_set.name, which, name), cv2.COLOR_RGB2BGR)
                    for which in (job.label, TRUTH)
                ]
            except OSError as error:
                problems.append(f'{where}: {error}')
                continue
            measured = {metric.name: metric.update(name, *pair) for metric in missing}
            new = {metric: sample.tolist() for metric, sample in measured.items() if sample is not None}
            append({'name': name, 'samples': samples | new})
    return problems + [f'{where}: {line}' for metric in metrics for line in metric.describe_unmeasured()]
