"""The data sets of an options file: whether they are there, can be read, and fit the training."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
import torch
from basicsr.data import build_dataset
from basicsr.data.paired_image_dataset import PairedImageDataset
from basicsr.utils import tensor2img
from basicsr.utils.registry import ARCH_REGISTRY

from hifacegan_plugin.archs.csr_arch import CSRGenerator
from hifacegan_plugin.archs.csr_network import CSRNetwork
from hifacegan_plugin.data.degradation_dataset import DegradationDataset
from hifacegan_plugin.data.degradations import build_degradation
from hifacegan_plugin.images.channels import channels_of
from hifacegan_plugin.images.databases import open_database
from hifacegan_plugin.images.sources import find_images
from hifacegan_plugin.metrics.metric import build_metric
from hifacegan_plugin.schema.problem import Problem, describe_error

MAKE_ANEW = 'make it again with hifacegan lmdb; hifacegan verify-lmdb checks every image'
SHARED_MEMORY = Path('/dev/shm')  # through which data workers hand over their batches


def check_data_sets(opt: dict[str, Any]) -> Iterator[Problem]:
    """Check the data sets; read images from those whose options, folders and databases are all right."""
    readable = []
    for phase, options in opt['datasets'].items():
        where = f'datasets: {phase}'
        problems = [*check_degradation(where, options), *check_roots(where, options)]
        if options['phase'] == 'train':
            problems += [*check_crop(opt), *check_shared_memory(options), *check_prefetching(options)]
        yield from problems
        if not any(problem.stops for problem in problems):
            readable.append((where, options))
    yield from check_overlap(dict(readable))
    for where, options in readable:
        yield from check_images(where, options, opt)


def check_overlap(data_sets: dict[str, dict[str, Any]]) -> Iterator[Problem]:
    """Find validation images that are trained on."""
    images = {where: _clean_images(options) for where, options in data_sets.items()}
    trained = images.pop('datasets: train', set())
    for where, validated in images.items():
        if shared := validated & trained:
            yield Problem(
                f'{where}: {len(shared):,} of {len(validated):,} images are trained on, too: the figures will not tell '
                'how the network does on images that it has not seen.',
                'validate on other images; hifacegan split writes lists for meta_info_file',
                stops=False,
            )


def _clean_images(options: dict[str, Any]) -> set[Path]:
    """List the clean images of a data set whose roots are found; none of a class that this does not know."""
    is_ours = options['type'] == DegradationDataset.__name__
    if not (is_ours or options['type'] == PairedImageDataset.__name__) or 'dataroot_gt' not in options:
        return set()
    backend = (options.get('io_backend') or {}).get('type', 'disk')
    # The host's class reads no lists for databases, and no sub-folders.
    list_file = options.get('meta_info_file') if is_ours or backend == 'disk' else None
    images = find_images(options['dataroot_gt'], backend, list_file=list_file)
    roots = {image.root: Path(image.root).resolve() for image in images}
    return {roots[image.root] / image.name for image in images if is_ours or list_file or '/' not in image.name}


def check_degradation(where: str, options: dict[str, Any]) -> Iterator[Problem]:
    """Build the recipe."""
    if options.get('degradation') is not None:
        try:
            build_degradation(options['degradation'])
        except (ValueError, TypeError) as error:
            yield Problem(
                f'{where}: degradation: {describe_error(error)}', 'docs/degradations.md lists recipes and steps'
            )


def check_roots(where: str, options: dict[str, Any]) -> Iterator[Problem]:
    """Find folders and databases that are missing or damaged."""
    backend = (options.get('io_backend') or {}).get('type', 'disk')
    for key, root in options.items():
        if not key.startswith('dataroot') or root is None:
            continue
        try:
            databases = _databases(options, key, backend)
        except (ValueError, OSError) as error:
            yield Problem(f'{where}: {describe_error(error)}', 'correct the path, or see "Prepare data" in the README')
        else:
            for database in sorted(databases):
                yield from check_database(f'{where}: {key}', database)


def _databases(options: dict[str, Any], key: str, backend: str) -> set[Path]:
    """Return the databases that an option names; raise an error if what it names does not exist."""
    if options['type'] == DegradationDataset.__name__:  # which takes lists and patterns
        list_file = options.get('meta_info_file') if key == 'dataroot_gt' else None
        roots = {image.root for image in find_images(options[key], backend, option=key, list_file=list_file)}
    elif Path(options[key]).exists():
        roots = {str(options[key])}
    else:
        raise FileNotFoundError(f'{key}: {options[key]} does not exist')
    return {Path(root) for root in roots if root.endswith('.lmdb')}


def check_database(where: str, database: Path) -> Iterator[Problem]:
    """Check that a database is whole and holds every image that its ``meta_info.txt`` lists."""
    data = database / 'data.mdb'
    try:
        listed = {image.name for image in find_images(str(database), 'lmdb')}
        env = open_database(database).environment
        needed = (env.info()['last_pgno'] + 1) * env.stat()['psize']
        if data.stat().st_size < needed:  # to read beyond its end would kill this process, and the training
            yield Problem(f'{where}: {data} is cut short: {data.stat().st_size:,} of {needed:,} bytes.', MAKE_ANEW)
            return
        with env.begin() as transaction:
            found = {key.decode(errors='replace') for key in transaction.cursor().iternext(values=False)}
    except (ValueError, OSError, lmdb.Error) as error:
        yield Problem(f'{where}: {database} cannot be read: {error}.', MAKE_ANEW)
        return
    if missing := sorted(listed - found):
        yield Problem(
            f'{where}: {database} lacks {len(missing)} of {len(listed)} images that its meta_info.txt '
            f'lists, such as {missing[0]}.',
            MAKE_ANEW,
        )


def check_crop(opt: dict[str, Any]) -> Iterator[Problem]:
    """Check that the network can work on the crops."""
    size = opt['datasets']['train'].get('gt_size')
    generator = generator_of(opt)
    if generator is None:
        return
    if opt.get('scale', 1) != 1:
        yield Problem(
            f'scale is {opt["scale"]}, but {CSRGenerator.__name__} returns images of the size of its input.',
            'scale: 1; degraded images are then brought to the full size',
        )
    if size is None:
        yield Problem(
            'datasets: train: gt_size is not set: images of different sizes cannot form a batch.',
            'set gt_size, unless all images have the same size',
            stops=False,
        )
    elif size < (least := generator.smallest_side):
        yield Problem(
            f'datasets: train: gt_size: {size} is too small: the network takes images from {least} x {least} up.',
            f'gt_size: {least} or more',
        )
    elif size % (multiple := generator.multiple):
        padded = size + -size % multiple
        yield Problem(
            f'datasets: train: gt_size: {size} is no multiple of {multiple}: the network pads every crop to '
            f'{padded} and wastes the work.',
            f'gt_size: {padded} or {padded - multiple}',
            stops=False,
        )


def generator_of(opt: dict[str, Any]) -> CSRNetwork | None:
    """Build the generator without memory for its weights; None if it is another one, or its options are wrong."""
    options = dict(opt['network_g'])
    if options.pop('type') != CSRGenerator.__name__:
        return None
    try:
        with torch.device('meta'):
            return CSRGenerator(**options)
    except (TypeError, ValueError, RuntimeError):  # what is wrong is found where the options are checked
        return None


def check_prefetching(options: dict[str, Any]) -> Iterator[Problem]:
    """Check how the trainer is to get its batches."""
    mode = options.get('prefetch_mode')
    if mode == 'cuda' and not torch.cuda.is_available():
        yield Problem('datasets: train: prefetch_mode: cuda needs a GPU.', 'take ~ or cpu')
    elif mode == 'cuda' and options.get('pin_memory') is not True:
        yield Problem('datasets: train: prefetch_mode: cuda needs pin_memory: true.', 'add it')


def check_shared_memory(options: dict[str, Any]) -> Iterator[Problem]:
    """Check that the batches of all data workers fit into shared memory, which is small in containers."""
    size, workers = options.get('gt_size'), options['num_worker_per_gpu']
    if not (isinstance(size, int) and workers and SHARED_MEMORY.is_dir()):
        return
    value = 1 if options.get('deliver') == 'uint8' else 4
    images = 2 if options.get('guide') is None else 3  # degraded, clean, guide
    batch = images * 3 * size**2 * value * options['batch_size_per_gpu']
    needed = 2 * workers * batch  # each prepares two batches ahead
    free = shutil.disk_usage(SHARED_MEMORY).free
    if free < needed:
        yield Problem(
            f'The data workers need up to {needed / 1e6:,.0f} MB of shared memory; {SHARED_MEMORY} has '
            f'{free / 1e6:,.0f} MB.',
            'docker run --shm-size=8g, or lower num_worker_per_gpu',
            stops=False,
        )


def check_images(where: str, options: dict[str, Any], opt: dict[str, Any]) -> Iterator[Problem]:
    """Build the data set as training does; read its first image, one from the middle and the last one."""
    fix = 'correct the options of this data set'
    try:
        dataset = build_dataset(options)
        fix = 'hifacegan verify-lmdb helps to find out more'
        items = [dataset[index] for index in sorted({0, len(dataset) // 2, len(dataset) - 1})]
    except KeyError as error:  # the host's data sets look options up as they need them
        yield Problem(f'{where}: {options["type"]} needs {error.args[0]}.', f'add {error.args[0]}, or correct its name')
        return
    except Exception as error:  # a data set of the host or of the user may fail in any way; that is the problem
        yield Problem(f'{where}: {describe_error(error)}', fix)
        return
    yield from check_channels(where, options, items[0], opt)
    yield from check_guide(where, items[0], opt)
    if options['phase'] == 'train':
        draws = len(dataset) * options.get('dataset_enlarge_ratio', 1)
        if draws < options['batch_size_per_gpu']:
            yield Problem(
                f'{where}: {draws} images per epoch do not fill a batch of {options["batch_size_per_gpu"]}: '
                'nothing would be trained.',
                'raise dataset_enlarge_ratio',
            )
    elif (generator := generator_of(opt)) and min(items[0]['lq'].shape[-2:]) < (least := generator.smallest_side):
        yield Problem(
            f'{where}: images are smaller than {least} x {least}, which the network takes.',
            f'set resize: {least} or more',
        )
    else:
        truth = tensor2img(items[0]['gt']) if 'gt' in items[0] else None
        degraded = tensor2img(items[0]['lq'])
        yield from check_metrics('val: metrics', (opt.get('val') or {}).get('metrics') or {}, degraded, truth)


def check_channels(where: str, options: dict[str, Any], item: dict[str, Any], opt: dict[str, Any]) -> Iterator[Problem]:
    """Find degradations that are drawn in colour for a network that sees grey."""
    is_ours = options['type'] == DegradationDataset.__name__
    if is_ours and (len(item['lq']), channels_of(opt['network_g'])) == (3, 1):
        yield Problem(
            f'{where}: degrades colours, of which network_g (num_in_ch: 1) is given the luma: noise is '
            'weaker there than the recipe says.',
            'color: grey degrades the luma itself',
            stops=False,
        )


def check_guide(where: str, item: dict[str, Any], opt: dict[str, Any]) -> Iterator[Problem]:
    """Check that a network that restores by a guide gets one."""
    kind = opt['network_g']['type']
    if 'guide' not in item and kind in ARCH_REGISTRY and getattr(ARCH_REGISTRY.get(kind), 'takes_guide', False):
        yield Problem(f'{where}: {kind} takes a guide beside each image, and there is none.', 'add guide: {}')


def check_metrics(
    where: str, metrics: dict[str, dict[str, Any]], degraded: np.ndarray, truth: np.ndarray | None
) -> Iterator[Problem]:
    """Measure an image with every metric that is asked for; what a metric lacks is found only then."""
    image = degraded if truth is None else truth  # which are of one size
    for name, options in metrics.items():
        try:
            metric = build_metric(name, options, where)
            metric.update('', image, truth)
        except ValueError as error:
            yield Problem(describe_error(error), 'correct its options, or take the metric out')
            continue
        if metric.unavailable:
            yield Problem(
                f'{where}: {name} is left out: {metric.unavailable}.', 'do so, or take the metric out', stops=False
            )
            continue
        for _, failure in metric.state.failures:
            yield Problem(f'{where}: {name}: {failure}', 'correct its options, or take the metric out')
