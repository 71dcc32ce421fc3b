"""Check the folders and databases of data sets: whether they exist, are complete, and do not share images."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lmdb
from basicsr.data.paired_image_dataset import PairedImageDataset

from hifacegan_plugin.data.degradation_dataset import DegradationDataset
from hifacegan_plugin.images.databases import open_database
from hifacegan_plugin.images.sources import find_images
from hifacegan_plugin.schema.problem import Problem, describe_error

MAKE_AGAIN = 'make it again with hifacegan lmdb; hifacegan verify-lmdb checks every image'


def check_roots(where: str, options: dict[str, Any]) -> Iterator[Problem]:
    """Find folders and databases that are missing or damaged."""
    backend = (options.get('io_backend') or {}).get('type', 'disk')
    for key, root in options.items():
        if not key.startswith('dataroot') or root is None:
            continue
        try:
            databases = _databases(options, key, backend)
        except (ValueError, OSError) as error:
            yield Problem(f'{where}: {describe_error(error)}', 'correct the path, or see data_prep/README.md')
        else:
            for database in sorted(databases):
                yield from check_database(f'{where}: {key}', database)


def _databases(options: dict[str, Any], key: str, backend: str) -> set[Path]:
    """Return the databases that an option names; raise ValueError or OSError if one does not exist."""
    if options['type'] == DegradationDataset.__name__:  # it accepts lists and patterns
        list_file = options.get('meta_info_file') if key == 'dataroot_gt' else None
        roots = {image.root for image in find_images(options[key], backend, option=key, list_file=list_file)}
    elif Path(options[key]).exists():
        roots = {str(options[key])}
    else:
        raise FileNotFoundError(f'{key}: {options[key]} does not exist')
    return {Path(root) for root in roots if root.endswith('.lmdb')}


def check_database(where: str, database: Path) -> Iterator[Problem]:
    """Check that a database can be read and contains every image of its ``meta_info.txt``."""
    try:
        listed = {image.name for image in find_images(str(database), 'lmdb')}
        with open_database(database).begin() as transaction:
            found = {key.decode(errors='replace') for key in transaction.cursor().iternext(values=False)}
    except (ValueError, OSError, lmdb.Error) as error:
        yield Problem(f'{where}: {database} cannot be read: {error}.', MAKE_AGAIN)
        return
    if missing := sorted(listed - found):
        yield Problem(
            f'{where}: {database} lacks {len(missing)} of {len(listed)} images that its meta_info.txt '
            f'lists, such as {missing[0]}.',
            MAKE_AGAIN,
        )


def check_overlap(data_sets: dict[str, dict[str, Any]]) -> Iterator[Problem]:
    """Find validation images that are also used for training."""
    images = {where: _clean_images(options) for where, options in data_sets.items()}
    trained = images.pop('datasets: train', set())
    for where, validated in images.items():
        if shared := validated & trained:
            yield Problem(
                f'{where}: {len(shared):,} of {len(validated):,} images are also used for training: the metrics will '
                'not show how the network performs on unseen images.',
                'validate on other images; hifacegan split writes lists for meta_info_file',
                stops=False,
            )


def _clean_images(options: dict[str, Any]) -> set[Path]:
    """Return the clean images of a data set with existing roots; empty for classes other than the two known ones."""
    is_ours = options['type'] == DegradationDataset.__name__
    if not (is_ours or options['type'] == PairedImageDataset.__name__) or 'dataroot_gt' not in options:
        return set()
    backend = (options.get('io_backend') or {}).get('type', 'disk')
    # The host's class ignores lists for databases, and does not read subfolders.
    list_file = options.get('meta_info_file') if is_ours or backend == 'disk' else None
    images = find_images(options['dataroot_gt'], backend, list_file=list_file)
    roots = {image.root: Path(image.root).resolve() for image in images}
    return {roots[image.root] / image.name for image in images if is_ours or list_file or '/' not in image.name}
