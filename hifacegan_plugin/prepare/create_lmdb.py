"""Make an LMDB in BasicSR's format from a folder of images: ``hifacegan lmdb``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np

from hifacegan_plugin.images.decoding import decode, without_alpha
from hifacegan_plugin.images.files import read_file
from hifacegan_plugin.images.image_error import ImageError
from hifacegan_plugin.images.lmdb_keys import lmdb_keys
from hifacegan_plugin.images.opening import MAX_PIXELS, open_checked
from hifacegan_plugin.prepare.build_error import BuildError
from hifacegan_plugin.prepare.resumable_build import Outcome, Run, Summary, build
from hifacegan_plugin.prepare.shorter_side import resize_shorter_side
from hifacegan_plugin.prepare.stores import COPIED, Entry, LmdbWriter, png_entry
from hifacegan_plugin.prepare.worker_pool import map_in_threads


@dataclass(frozen=True)
class Options:
    """How images are converted.

    Attributes:
        size: resize the shorter side to this length, in pixels; None keeps the size.
        crop_size: side of square crops, in pixels; None stores whole images.
        step: distance between crops, in pixels; None means ``crop_size``.
        reencode: decode and encode all images, even those that could be copied.
        compression_level: compression level of PNG files, 1 to 9.
        max_pixels: reject images with more pixels, before decoding or after resizing.
    """

    size: int | None = None
    crop_size: int | None = None
    step: int | None = None
    reencode: bool = False
    compression_level: int = 1
    max_pixels: int = MAX_PIXELS


def create_lmdb(
    folder: Path,
    names: Sequence[str],
    target: Path,
    options: Options,
    run: Run,
    *,
    shard: tuple[int, int] = (1, 1),
) -> Summary:
    """Make a database from the images of a folder.

    Args:
        folder: folder with the images.
        names: unique file names of the images, relative to ``folder``, in the order of the database.
        target: folder of the database, ``*.lmdb``.
        options: how the images are converted.
        run: how the build runs.
        shard: (i, n): use only the i-th of n equal parts, counted from 1.

    Raises:
        BuildError: nothing was made; the message says why and what to do.
    """
    keys = lmdb_keys(names)  # of all names, so that keys are unique across shards
    number, total = shard
    share = names[number - 1 :: total]
    if not share:
        raise BuildError(f'--shard {number}/{total}: {len(names)} images are too few for {total} shards')
    prepare_one = partial(prepare, folder, keys, options)
    stores = {'.': LmdbWriter}
    return build(target, share, asdict(options), stores, partial(map_in_threads, prepare_one, run.jobs), run)


def prepare(folder: Path, keys: Mapping[str, str], options: Options, name: str) -> Outcome:
    """Return the entries of an image file, or why it is rejected."""
    try:
        return Outcome({'.': make_entries(read_file(folder / name, options.max_pixels), keys[name], options)})
    except ImageError as error:
        return Outcome({}, rejected=str(error))


def make_entries(data: bytes, key: str, options: Options) -> list[Entry]:
    """Return the entries of an encoded image: the image itself or its crops.

    Raises:
        ImageError: the image is damaged, too large, or smaller than a crop.
    """
    encoded = open_checked(data, options.max_pixels)
    if encoded.standard and fits(encoded.shape, options) and not options.reencode:
        return [Entry(crop_key(key, 1) if options.crop_size else key, data, encoded.shape, COPIED)]
    image = without_alpha(decode(encoded))
    if options.size:
        image = resize_shorter_side(image, options.size, options.max_pixels)
    if options.crop_size is None:
        return [png_entry(key, image, options.compression_level)]
    return [
        png_entry(crop_key(key, number), crop, options.compression_level)
        for number, crop in enumerate(crops(image, options.crop_size, options.step or options.crop_size), start=1)
    ]


def fits(shape: tuple[int, int, int], options: Options) -> bool:
    """Return whether an image of the shape ``(H, W, C)`` needs no resizing or cropping."""
    height, width, _ = shape
    crop = options.crop_size
    return options.size in (None, min(height, width)) and (crop is None or height == width == crop)


def crops(image: np.ndarray, size: int, step: int) -> Iterator[np.ndarray]:
    """Yield square crops of side ``size``, ``step`` apart, row by row; the last row and column end at the border.

    Raises:
        ImageError: the image is smaller than a crop.
    """
    height, width = image.shape[:2]
    if min(height, width) < size:
        raise ImageError(f'has {width} x {height} pixels, less than the crop of {size}')

    def starts(length: int) -> list[int]:
        last = length - size
        return [*range(0, last, step), last]

    for top in starts(height):
        for left in starts(width):
            yield image[top : top + size, left : left + size]


def crop_key(key: str, number: int) -> str:
    """Return the key of a crop, named as by BasicSR's script ``extract_subimages.py``."""
    return f'{key}_s{number:03d}'
