"""Check the data sets of an options file: their options, files and images."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from hifacegan_plugin.archs.csr.network import CSRNetwork
from hifacegan_plugin.data.degradations import build_degradation
from hifacegan_plugin.doctor.data_files import check_overlap, check_roots
from hifacegan_plugin.doctor.data_items import check_items
from hifacegan_plugin.host.networks import csr_generator
from hifacegan_plugin.schema.problem import Problem, describe_error

SHARED_MEMORY = Path('/dev/shm')  # data workers pass batches through it


def check_data_sets(opt: dict[str, Any]) -> Iterator[Problem]:
    """Check options, folders and databases of all data sets, then read images from those without problems."""
    generator = csr_generator(opt.get('network_g'))
    readable = []
    for phase, options in opt['datasets'].items():
        where = f'datasets: {phase}'
        problems = [*check_degradation(where, options), *check_roots(where, options)]
        if options['phase'] == 'train':
            problems += [*check_crop(options, generator), *check_shared_memory(options), *check_prefetching(options)]
        yield from problems
        if not any(problem.stops for problem in problems):
            readable.append((where, options))
    yield from check_overlap(dict(readable))
    for where, options in readable:
        yield from check_items(where, options, opt, generator)


def check_degradation(where: str, options: dict[str, Any]) -> Iterator[Problem]:
    """Check that the recipe can be built."""
    if options.get('degradation') is not None:
        try:
            build_degradation(options['degradation'])
        except (ValueError, TypeError) as error:
            yield Problem(
                f'{where}: degradation: {describe_error(error)}', 'docs/degradations.md lists recipes and steps'
            )


def check_crop(options: dict[str, Any], generator: CSRNetwork | None) -> Iterator[Problem]:
    """Find a missing crop size, and one that wastes time; ``generator`` is None if it is not a ``CSRGenerator``."""
    size = options.get('gt_size')
    if generator is None:
        return
    if size is None:
        yield Problem(
            'datasets: train: gt_size is not set: images of different sizes cannot form a batch.',
            'set gt_size, unless all images have the same size',
            stops=False,
        )
    elif size >= generator.smallest_side and size % (multiple := generator.multiple):
        padded = size + -size % multiple
        yield Problem(
            f'datasets: train: gt_size: {size} is not a multiple of {multiple}: the network pads every crop to '
            f'{padded}, which wastes time.',
            f'set gt_size: {padded} or {padded - multiple}',
            stops=False,
        )


def check_prefetching(options: dict[str, Any]) -> Iterator[Problem]:
    """Check that ``prefetch_mode: cuda`` can work."""
    mode = options.get('prefetch_mode')
    if mode == 'cuda' and not torch.cuda.is_available():
        yield Problem('datasets: train: prefetch_mode: cuda needs a GPU.', 'set ~ or cpu')
    elif mode == 'cuda' and options.get('pin_memory') is not True:
        yield Problem('datasets: train: prefetch_mode: cuda needs pin_memory: true.', 'add it')


def check_shared_memory(options: dict[str, Any]) -> Iterator[Problem]:
    """Check that the batches of all data workers fit in shared memory, which is small in containers."""
    size, workers = options.get('gt_size'), options['num_worker_per_gpu']
    if not (isinstance(size, int) and workers and SHARED_MEMORY.is_dir()):
        return
    value = 1 if options.get('deliver') == 'uint8' else 4
    images = 2 if options.get('guide') is None else 3  # degraded, clean, guide
    batch = images * 3 * size**2 * value * options['batch_size_per_gpu']
    needed = 2 * workers * batch  # each worker prefetches two batches
    free = shutil.disk_usage(SHARED_MEMORY).free
    if free < needed:
        yield Problem(
            f'The data workers need up to {needed / 1e6:,.0f} MB of shared memory; {SHARED_MEMORY} has '
            f'{free / 1e6:,.0f} MB.',
            'start the container with docker run --shm-size=8g, or lower num_worker_per_gpu',
            stops=False,
        )
