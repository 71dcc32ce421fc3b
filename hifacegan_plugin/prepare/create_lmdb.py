"""Building an LMDB in BasicSR's format from a folder of images: ``hifacegan lmdb``."""

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
from hifacegan_plugin.prepare.resizing import resize_shorter_side
from hifacegan_plugin.prepare.resumable_build import Outcome, Run, Summary, build
from hifacegan_plugin.prepare.stores import COPIED, Entry, LmdbWriter, png_entry
from hifacegan_plugin.prepare.verify_lmdb import verify as verify_database
from hifacegan_plugin.prepare.worker_pool import map_in_threads


@dataclass(frozen=True)
class Options:
    """What is done to each image.

    Attributes:
        size: length of the shorter side to resize to, in pixels.
        crop_size: side of the squares to cut, in pixels.
        step: distance between the squares.
        reencode: decode and encode also what could be copied.
        compression_level: of the PNG encoder, 1 to 9.
        max_pixels: images with more are rejected without decoding, and those that ``size`` would enlarge beyond it.
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
    verify: bool = False,
) -> Summary:
    """Make a database from the images of a folder.

    Args:
        folder: where the images are.
        names: of the images, relative to ``folder``, each once; the database has them in this order.
        target: the folder to be, ``*.lmdb``.
        options: what is done to each image.
        run: how the build runs.
        shard: (i, n): take the i-th of n equal shares, counted from 1.
        verify: decode every image before it is stored, and every value of the complete database.

    Raises:
        BuildError: nothing was made; the message says why and what to do.
    """
    keys = lmdb_keys(names)  # of all names: shards of one folder never share a key
    number, total = shard
    share = names[number - 1 :: total]
    if not share:
        raise BuildError(f'--shard {number}/{total}: {len(names)} images are too few for {total} shards')
    prepare_one = partial(prepare, folder, keys, options, verify)
    return build(
        target,
        share,
        asdict(options),
        {'.': LmdbWriter},
        partial(map_in_threads, prepare_one, run.jobs),
        run,
        check=partial(check_database, jobs=run.jobs) if verify else None,
    )


def prepare(folder: Path, keys: Mapping[str, str], options: Options, verify: bool, name: str) -> Outcome:
    """Turn one image file into entries of the database, or into the reason why not."""
    try:
        return Outcome({'.': make_entries(read_file(folder / name, options.max_pixels), keys[name], options, verify)})
    except ImageError as error:
        return Outcome({}, rejected=str(error))


def make_entries(data: bytes, key: str, options: Options, verify: bool = False) -> list[Entry]:
    """Make the entries of one encoded image: itself, or the squares cut from it.

    Raises:
        ImageError: the image is damaged, too large, or too small to be cropped.
    """
    encoded = open_checked(data, options.max_pixels)
    if encoded.standard and fits(encoded.shape, options) and not options.reencode:
        if verify:
            decode(encoded)
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
    """Return whether an image of this shape, ``(H, W, C)``, has the wanted size already."""
    height, width, _ = shape
    crop = options.crop_size
    return options.size in (None, min(height, width)) and (crop is None or height == width == crop)


def crops(image: np.ndarray, size: int, step: int) -> Iterator[np.ndarray]:
    """Cut squares of ``size``, ``step`` apart, row by row; the last row and column end at the border.

    Raises:
        ImageError: the image is smaller than one square.
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
    """Name a square as BasicSR's own extraction of sub-images does."""
    return f'{key}_s{number:03d}'


def check_database(folder: Path, jobs: int) -> None:
    """Decode all of a database.

    Raises:
        BuildError: a value is not what was stored.
    """
    problems = verify_database(folder, jobs)
    if problems:
        listed = ''.join(f'\n  {key}: {reason}' for key, reason in problems)
        raise BuildError(f'{folder} is damaged, start afresh with --overwrite:{listed}')
