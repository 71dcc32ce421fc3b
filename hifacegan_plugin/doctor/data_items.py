"""Check the items of data sets: whether they can be read, fill a batch, and suit the network and the metrics."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from basicsr.data import build_dataset
from basicsr.utils import tensor2img
from basicsr.utils.registry import ARCH_REGISTRY

from hifacegan_plugin.archs.csr.network import CSRNetwork
from hifacegan_plugin.data.degradation_dataset import DegradationDataset
from hifacegan_plugin.host.networks import shortest_side
from hifacegan_plugin.images.channels import channels_of
from hifacegan_plugin.metrics.building import build_metric
from hifacegan_plugin.schema.problem import DataSetError, Problem, describe_error, errors_of_data_set


def check_items(
    where: str, options: dict[str, Any], opt: dict[str, Any], generator: CSRNetwork | None
) -> Iterator[Problem]:
    """Build the data set, and read its first, middle and last item.

    Args:
        where: section of the data set, such as ``datasets: val``.
        options: options of the data set.
        opt: all options.
        generator: the generator if it is a ``CSRGenerator``.
    """
    fix = 'correct the options of this data set'
    try:
        with errors_of_data_set(where, options['type']):
            dataset = build_dataset(options)
            fix = 'hifacegan verify-lmdb checks all images of a database'
            items = [dataset[index] for index in sorted({0, len(dataset) // 2, len(dataset) - 1})]
    except DataSetError as error:
        if error.missing:
            fix = f'add {error.missing}, or correct its name'
        yield Problem(f'{error}', fix)
        return
    yield from check_channels(where, options, items[0], opt)
    yield from check_guide(where, items[0], opt)
    if options['phase'] == 'train':
        draws = len(dataset) * options.get('dataset_enlarge_ratio', 1)
        if draws < options['batch_size_per_gpu']:
            yield Problem(
                f'{where}: {draws} images per epoch do not fill a batch of {options["batch_size_per_gpu"]}: '
                'training would do nothing.',
                'raise dataset_enlarge_ratio',
            )
    elif (
        shortest_side(options) is None  # otherwise checked with the options
        and generator
        and min(items[0]['lq'].shape[-2:]) < (least := generator.smallest_side)
    ):
        yield Problem(
            f'{where}: images are smaller than {least} x {least}, the minimum for the network.',
            f'set resize: {least} or more',
        )
    else:
        truth = tensor2img(items[0]['gt']) if 'gt' in items[0] else None
        degraded = tensor2img(items[0]['lq'])
        yield from check_metrics('val: metrics', (opt.get('val') or {}).get('metrics') or {}, degraded, truth)


def check_channels(where: str, options: dict[str, Any], item: dict[str, Any], opt: dict[str, Any]) -> Iterator[Problem]:
    """Find colour degradations for a network that takes grey images."""
    is_ours = options['type'] == DegradationDataset.__name__
    if is_ours and (len(item['lq']), channels_of(opt['network_g'])) == (3, 1):
        yield Problem(
            f'{where}: degrades colour images, but network_g (num_in_ch: 1) gets only their luma: its noise is '
            'weaker than in the recipe.',
            'set color: grey to degrade the luma itself',
            stops=False,
        )


def check_guide(where: str, item: dict[str, Any], opt: dict[str, Any]) -> Iterator[Problem]:
    """Check that the data set returns a guide if the network takes one."""
    kind = opt['network_g']['type']
    if 'guide' not in item and kind in ARCH_REGISTRY and getattr(ARCH_REGISTRY.get(kind), 'takes_guide', False):
        yield Problem(f'{where}: {kind} takes a guide with each image, and there is none.', 'add guide: {}')


def check_metrics(
    where: str, metrics: dict[str, dict[str, Any]], degraded: np.ndarray, truth: np.ndarray | None
) -> Iterator[Problem]:
    """Measure an image with every metric, which finds missing packages and weights."""
    image = degraded if truth is None else truth  # the ground truth may be larger
    for name, options in metrics.items():
        try:
            metric = build_metric(name, options, where)
            metric.update('', image, truth)
        except ValueError as error:
            yield Problem(describe_error(error), 'correct its options, or remove the metric')
            continue
        if metric.unavailable:
            yield Problem(
                f'{where}: {name} is left out: {metric.unavailable}.', 'do so, or remove the metric', stops=False
            )
            continue
        for _, failure in metric.state.failures:
            yield Problem(f'{where}: {name}: {failure}', 'correct its options, or remove the metric')
