"""The images of the test sets, written out once, so that every restorer gets the same bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from functools import partial
from itertools import chain, count
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from basicsr.data import build_dataset
from basicsr.utils import tensor2img
from basicsr.utils.registry import DATASET_REGISTRY
from tqdm import tqdm

from hifacegan_plugin.compare.folder import Folder, read_json, remove_images, write_json
from hifacegan_plugin.images.channels import with_channels
from hifacegan_plugin.images.files import list_files
from hifacegan_plugin.images.sources import ImageSource, find_images, read_image
from hifacegan_plugin.images.writing import write_png
from hifacegan_plugin.schema.comparison import DEGRADED, GUIDE, TRUTH
from hifacegan_plugin.schema.problem import describe_error, raise_first
from hifacegan_plugin.schema.registered import problems_of_call, registered_names

# Path and images, uint8 RGB, by what they are: degraded, true and, where the data set gives one, a guide.
Item = Callable[[], tuple[str, dict[str, np.ndarray]]]


class OpenSet(NamedTuple):
    """A test set whose data is found.

    Args:
        name: in the options file.
        options: of the options file.
        source: digest of names, sizes and times of the files it is read from.
        items: a function to read each image with.
        problems: a line for each image that has no partner.
    """

    name: str
    options: dict[str, Any]
    source: str
    items: list[Item]
    problems: list[str]


@dataclass(frozen=True)
class ImageSet:
    """A test set whose images are written out.

    Args:
        name: in the options file.
        options: of the options file.
        source: as of :class:`OpenSet`.
        images: names of its images, in the order of the data set.
        content: digest of these names and images.
        problems: a line for each image that cannot be used.
    """

    name: str
    options: dict[str, Any]
    source: str
    images: list[str]
    content: str
    problems: list[str]


def open_test_set(name: str, options: dict[str, Any]) -> OpenSet:
    """Find the images of a data set; none is read yet.

    Args:
        name: of the test set.
        options: of a data set of the host's registry that returns ``lq`` and ``gt``. Of a ``PairedImageDataset``, the
            images that both sides hold are taken; the host's class refuses sides that differ.

    Raises:
        ValueError: the options are wrong, or a folder or LMDB does not exist.
    """
    raise_first(problems_of_call(f'datasets: {name}', options, registered_names(DATASET_REGISTRY), None))
    try:
        items, problems = _open({'name': name, 'scale': 1, **options, 'phase': 'test'})
        return OpenSet(name, options, identify_files(options), items, problems)
    except KeyError as error:
        raise ValueError(f'datasets: {name}: {error.args[0]} is missing') from error
    except Exception as error:  # whatever a data set of any author makes of its options
        raise ValueError(f'datasets: {name}: {describe_error(error)}') from error


def write_test_set(opened: OpenSet, folder: Folder) -> ImageSet:
    """Write the degraded and the true images of a test set into the folder, unless they are there already.

    An image that cannot be read, or whose sizes do not fit each other, is left out and named; the next run tries it
    again.

    Raises:
        ValueError: no image can be used.
        OSError: the folder cannot be written to.
    """
    name = opened.name
    done = read_json(folder.test_set(name))
    if done and _is_whole(done, opened, folder):
        return ImageSet(**done)
    for which in (DEGRADED, TRUTH, GUIDE):
        remove_images(folder, name, which)
    names: list[str] = []
    problems = list(opened.problems)
    content = hashlib.sha256()
    for index, item in enumerate(tqdm(opened.items, desc=f'{name}: read', unit='image')):
        try:
            path, images = item()
            _check_sizes(images[DEGRADED], images[TRUTH], opened.options.get('scale', 1))
        except Exception as error:  # a data set of any author on a damaged image: named and counted, the rest goes on
            problems.append(f'{name}: image {index}: {error or type(error).__name__}')
            continue
        names.append(_new_name(path, names))
        for which, image in images.items():
            write_png(folder.image(name, which, names[-1]), image)
            content.update(repr((names[-1], which, image.shape)).encode() + image.tobytes())
    if not names:
        raise ValueError(f'datasets: {name}: no image can be used. ' + '; '.join(problems[:3]))
    test_set = ImageSet(name, opened.options, opened.source, names, content.hexdigest(), problems)
    write_json(folder.test_set(name), asdict(test_set))
    return test_set


def _is_whole(done: dict[str, Any], opened: OpenSet, folder: Folder) -> bool:
    """Return whether a test set was written from the same data, and all of it is there."""
    if done.keys() != {field.name for field in fields(ImageSet)}:  # another version wrote it
        return False
    kinds = (DEGRADED, TRUTH) if opened.options.get('guide') is None else (DEGRADED, TRUTH, GUIDE)
    return (done['options'], done['source'], done['problems']) == (opened.options, opened.source, []) and all(
        folder.image(opened.name, which, image).exists() for which in kinds for image in done['images']
    )


def identify_files(options: dict[str, Any]) -> str:
    """Digest names, sizes and times of the files that options name, to tell them from later ones."""
    digest = hashlib.sha256()
    for file in chain.from_iterable(map(_files_of, _roots_in(options))):
        status = file.stat()
        digest.update(repr((str(file), status.st_size, status.st_mtime_ns)).encode())
    return digest.hexdigest()


def _roots_in(options: dict[str, Any]) -> Iterator[str]:
    """Yield what options, and those in their sections, name of folders, databases and lists."""
    for option, value in options.items():
        if isinstance(value, dict):
            yield from _roots_in(value)
        elif value and (option.startswith('dataroot') or option.endswith('_file')):
            yield from value if isinstance(value, list) else [value]


def _files_of(root: str) -> Iterator[Path]:
    """Yield the files of a folder or a pattern, or a file itself, always in the same order."""
    path = Path(root).expanduser()
    for match in [path] if path.exists() else sorted(path.parent.glob(path.name)):
        if match.is_file():
            yield match
        elif match.is_dir():
            files = (match / name for name in list_files(match))
            yield from (file for file in files if file.exists())  # no broken links


def _open(options: dict[str, Any]) -> tuple[list[Item], list[str]]:
    """Return a function to read each image with, and a line for each image that has no partner."""
    if options['type'] == 'PairedImageDataset':
        return _open_pairs(options)
    dataset = build_dataset(options)

    def read(index: int) -> tuple[str, dict[str, np.ndarray]]:
        item = dataset[index]
        if 'gt' not in item:
            raise ValueError(f'{options["type"]} has no ground truth (gt) to compare with')
        sides = {DEGRADED: 'lq', TRUTH: 'gt', GUIDE: 'guide'}
        return item['lq_path'], {
            which: tensor2img(with_channels(item[side][None], 3), rgb2bgr=False)
            for which, side in sides.items()
            if side in item
        }

    return [partial(read, index) for index in range(len(dataset))], []


def _open_pairs(options: dict[str, Any]) -> tuple[list[Item], list[str]]:
    backend = (options.get('io_backend') or {'type': 'disk'})['type']
    template = options.get('filename_tmpl', '{}')
    degraded = {_key(image): image for image in find_images(options['dataroot_lq'], backend, option='dataroot_lq')}
    truth = find_images(options['dataroot_gt'], backend, list_file=options.get('meta_info_file'))
    partners = {template.format(_key(image)): image for image in truth}
    pairs = [(degraded[key], image) for key, image in partners.items() if key in degraded]
    problems = [f'{image} has no degraded image' for key, image in partners.items() if key not in degraded]
    if not options.get('meta_info_file'):  # which may well name a part only
        problems += [f'{image} has no ground truth' for key, image in degraded.items() if key not in partners]
    if len(truth) != len(degraded) and problems:
        problems.insert(0, f'{len(degraded)} degraded and {len(truth)} true images; {len(pairs)} are compared')
    scale = options['scale']

    def read(lq: ImageSource, gt: ImageSource) -> tuple[str, dict[str, np.ndarray]]:
        low, high = (cv2.cvtColor(read_image(image), cv2.COLOR_BGR2RGB) for image in (lq, gt))
        # The border that scale does not divide, as the host cuts it off; anything more is a mistake.
        if all(0 <= side - scale * small < scale for side, small in zip(high.shape[:2], low.shape[:2])):
            high = high[: low.shape[0] * scale, : low.shape[1] * scale]
        try:
            _check_sizes(low, high, scale)
        except ValueError as error:
            raise ValueError(f'{lq}: {error}') from error
        return gt.path, {DEGRADED: low, TRUTH: high}

    return [partial(read, *pair) for pair in pairs], problems


def _key(image: ImageSource) -> str:
    """Return the name that both images of a pair share: below their roots, without suffix."""
    if image.root.endswith('.lmdb'):
        return image.name
    return Path(image.name).with_suffix('').as_posix()


def _check_sizes(degraded: np.ndarray, truth: np.ndarray, scale: int) -> None:
    (height, width), (true_height, true_width) = degraded.shape[:2], truth.shape[:2]
    if (height * scale, width * scale) != (true_height, true_width):
        raise ValueError(
            f'the degraded image is {width}x{height} and the true one {true_width}x{true_height}, '
            f'which does not fit scale: {scale}'
        )


def _new_name(path: str, taken: list[str]) -> str:
    """Name an image by its file or key; by a number too, where several folders hold the same name."""
    stem = Path(path).stem
    names = chain([stem], (f'{stem}_{number}' for number in count(len(taken))))
    return next(name for name in names if name not in taken)
