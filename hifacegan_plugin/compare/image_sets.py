"""Test sets: their images are written as PNG files once, so that every restorer reads the same pixels."""

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
from hifacegan_plugin.schema.comparison import DEGRADED, GUIDE, PAIRED, TRUTH, PairedDatasetOptions
from hifacegan_plugin.schema.problem import describe_error, errors_of_data_set, raise_first
from hifacegan_plugin.schema.registered import problems_of_name, registered_names

# Returns the path of an image, and uint8 RGB arrays (H, W, 3) by kind: degraded, truth and, if any, guide.
Item = Callable[[], tuple[str, dict[str, np.ndarray]]]


class OpenSet(NamedTuple):
    """A test set with the files that it reads, before its images are written.

    Args:
        name: name in the options file.
        options: options in the options file.
        source: digest of names, sizes and modification times of the source files.
        items: for each image, a function that reads it.
        problems: a message for each image without a partner.
    """

    name: str
    options: dict[str, Any]
    source: str
    items: list[Item]
    problems: list[str]


@dataclass(frozen=True)
class ImageSet:
    """A test set after its images are written.

    Args:
        name: name in the options file.
        options: options in the options file.
        source: see :class:`OpenSet`.
        images: names of the images, in the order of the data set.
        content: digest of these names and the pixels.
        problems: a message for each image that cannot be used.
    """

    name: str
    options: dict[str, Any]
    source: str
    images: list[str]
    content: str
    problems: list[str]


def open_test_set(name: str, options: dict[str, Any]) -> OpenSet:
    """Find the images of a data set without reading them.

    Args:
        name: name of the test set.
        options: options of a registered data set that returns ``lq`` and ``gt``. A ``PairedImageDataset`` may lack
            partners of some images, which are skipped; the host's class rejects such folders.

    Raises:
        ValueError: the options are wrong, or a folder or LMDB does not exist.
    """
    raise_first(problems_of_name(f'datasets: {name}', options, registered_names(DATASET_REGISTRY)))
    with errors_of_data_set(f'datasets: {name}', options['type']):
        items, problems = _open({'name': name, 'scale': 1, **options, 'phase': 'test'})
        return OpenSet(name, options, digest_files(options), items, problems)


def write_test_set(opened: OpenSet, folder: Folder) -> ImageSet:
    """Write the degraded images and the ground truth of a test set, unless an earlier run wrote them.

    Images that cannot be read or do not have matching sizes are skipped and reported; the next run tries them again.

    Raises:
        ValueError: no image can be used.
        OSError: the folder cannot be written to.
    """
    name = opened.name
    done = read_json(folder.test_set(name))
    if done and _is_complete(done, opened, folder):
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
        except Exception as error:  # data sets of other packages may raise anything; report it and continue
            problems.append(f'{name}: image {index}: {describe_error(error)}')
            continue
        names.append(_unique_name(path, names))
        for which, image in images.items():
            write_png(folder.image(name, which, names[-1]), image)
            content.update(repr((names[-1], which, image.shape)).encode() + image.tobytes())
    if not names:
        raise ValueError(f'datasets: {name}: no image can be used. ' + '; '.join(problems[:3]))
    test_set = ImageSet(name, opened.options, opened.source, names, content.hexdigest(), problems)
    write_json(folder.test_set(name), asdict(test_set))
    return test_set


def _is_complete(done: dict[str, Any], opened: OpenSet, folder: Folder) -> bool:
    """Return whether an earlier run wrote all images of a test set from the same data."""
    if done.keys() != {field.name for field in fields(ImageSet)}:  # written by another version
        return False
    kinds = (DEGRADED, TRUTH) if opened.options.get('guide') is None else (DEGRADED, TRUTH, GUIDE)
    return (done['options'], done['source'], done['problems']) == (opened.options, opened.source, []) and all(
        folder.image(opened.name, which, image).exists() for which in kinds for image in done['images']
    )


def digest_files(options: dict[str, Any]) -> str:
    """Return a digest of names, sizes and modification times of the files that options name, to detect changes."""
    digest = hashlib.sha256()
    for file in chain.from_iterable(map(_files_of, _roots_in(options))):
        status = file.stat()
        digest.update(repr((str(file), status.st_size, status.st_mtime_ns)).encode())
    return digest.hexdigest()


def _roots_in(options: dict[str, Any]) -> Iterator[str]:
    """Yield the folders, databases and list files that options and their sections name."""
    for option, value in options.items():
        if isinstance(value, dict):
            yield from _roots_in(value)
        elif value and (option.startswith('dataroot') or option.endswith('_file')):
            yield from value if isinstance(value, list) else [value]


def _files_of(root: str) -> Iterator[Path]:
    """Yield the files of a folder, of a pattern or of a path to a file, in a fixed order."""
    path = Path(root).expanduser()
    for match in [path] if path.exists() else sorted(path.parent.glob(path.name)):
        if match.is_file():
            yield match
        elif match.is_dir():
            files = (match / name for name in list_files(match))
            yield from (file for file in files if file.exists())  # skips broken links


def _open(options: dict[str, Any]) -> tuple[list[Item], list[str]]:
    """Return a function that reads each image, and a message for each image without a partner."""
    if options['type'] == PAIRED:
        return _open_pairs(PairedDatasetOptions.model_validate(options))
    dataset = build_dataset(options)

    def read(index: int) -> tuple[str, dict[str, np.ndarray]]:
        item = dataset[index]
        if 'gt' not in item:
            raise ValueError(f'{options["type"]} returns no ground truth (gt)')
        sides = {DEGRADED: 'lq', TRUTH: 'gt', GUIDE: 'guide'}
        return item['lq_path'], {
            which: tensor2img(with_channels(item[side][None], 3), rgb2bgr=False)
            for which, side in sides.items()
            if side in item
        }

    return [partial(read, index) for index in range(len(dataset))], []


def _open_pairs(options: PairedDatasetOptions) -> tuple[list[Item], list[str]]:
    backend = options.io_backend.type if options.io_backend else 'disk'
    degraded = _by_name(find_images(options.dataroot_lq, backend, option='dataroot_lq'), '{}')
    listed = find_images(options.dataroot_gt, backend, list_file=options.meta_info_file)
    truth = _by_name(listed, options.filename_tmpl)
    pairs: list[tuple[ImageSource, ImageSource]] = []
    problems: list[str] = []
    for name, images in truth.items():
        if name not in degraded:
            problems += [f'{image} has no degraded image' for image in images]
        elif len(images) == len(degraded[name]) == 1:
            pairs.append((degraded[name][0], images[0]))
        else:
            problems.append(f'several images have one name: {", ".join(map(str, [*images, *degraded[name]]))}')
    if not options.meta_info_file:  # a list may name only some of the images
        alone = [image for name, images in degraded.items() if name not in truth for image in images]
        problems += [f'{image} has no ground truth' for image in alone]
    counts = [sum(map(len, side.values())) for side in (degraded, truth)]
    if counts[0] != counts[1] and problems:
        problems.insert(0, f'{counts[0]} degraded and {counts[1]} true images; {len(pairs)} pairs are compared')
    scale = options.scale

    def read(lq: ImageSource, gt: ImageSource) -> tuple[str, dict[str, np.ndarray]]:
        low, high = (cv2.cvtColor(read_image(image), cv2.COLOR_BGR2RGB) for image in (lq, gt))
        # Crop the ground truth to a multiple of scale, as the host does; larger differences are an error.
        if all(0 <= side - scale * small < scale for side, small in zip(high.shape[:2], low.shape[:2])):
            high = high[: low.shape[0] * scale, : low.shape[1] * scale]
        try:
            _check_sizes(low, high, scale)
        except ValueError as error:
            raise ValueError(f'{lq}: {error}') from error
        return gt.path, {DEGRADED: low, TRUTH: high}

    return [partial(read, *pair) for pair in pairs], problems


def _by_name(images: list[ImageSource], template: str) -> dict[str, list[ImageSource]]:
    """Return the images by the name that both images of a pair share, written as in the template."""
    by_name: dict[str, list[ImageSource]] = {}
    for image in dict.fromkeys(images):  # a list may repeat an image
        by_name.setdefault(template.format(_key(image)), []).append(image)
    return by_name


def _key(image: ImageSource) -> str:
    """Return the name that both images of a pair share: the path below the root, without suffix."""
    if image.root.endswith('.lmdb'):
        return image.name
    return Path(image.name).with_suffix('').as_posix()


def _check_sizes(degraded: np.ndarray, truth: np.ndarray, scale: int) -> None:
    (height, width), (true_height, true_width) = degraded.shape[:2], truth.shape[:2]
    if (height * scale, width * scale) != (true_height, true_width):
        raise ValueError(
            f'the degraded image is {width}x{height} and the ground truth {true_width}x{true_height}, '
            f'which does not match scale: {scale}'
        )


def _unique_name(path: str, taken: list[str]) -> str:
    """Return the file stem, with a number appended if another image has the same name."""
    stem = Path(path).stem
    names = chain([stem], (f'{stem}_{number}' for number in count(len(taken))))
    return next(name for name in names if name not in taken)
