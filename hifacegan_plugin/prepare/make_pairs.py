"""Freezing a degradation as pairs that BasicSR's PairedImageDataset reads: ``hifacegan pairs``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2

from hifacegan_plugin.data.degradations import Step, build_degradation, fit, make_generator
from hifacegan_plugin.images.databases import DamagedDatabaseError, check_size, read_meta_info
from hifacegan_plugin.images.decoding import as_8_bit_bgr, decode
from hifacegan_plugin.images.image_error import ImageError
from hifacegan_plugin.images.lmdb_keys import lmdb_keys
from hifacegan_plugin.images.opening import MAX_PIXELS, open_checked
from hifacegan_plugin.images.sources import ImageSource, read_encoded
from hifacegan_plugin.prepare.build_error import BuildError
from hifacegan_plugin.prepare.names import read_names
from hifacegan_plugin.prepare.resizing import resize_shorter_side
from hifacegan_plugin.prepare.resumable_build import Outcome, Run, Summary, build
from hifacegan_plugin.prepare.stores import COPIED, Entry, LmdbWriter, PlainFolder, png_entry
from hifacegan_plugin.prepare.worker_pool import map_in_processes


@dataclass(frozen=True)
class Options:
    """What is done to each image.

    Attributes:
        recipe: as :func:`~hifacegan_plugin.data.degradations.build_degradation` takes it.
        seed: of all images together.
        size: length of the shorter side to resize the ground truth to, in pixels.
        scale: the degraded image is this much smaller than the ground truth.
        folders: plain folders of PNG files instead of databases.
        compression_level: of the PNG encoder, 1 to 9.
        max_pixels: images with more are rejected without decoding, and those that ``size`` would enlarge beyond it.
    """

    recipe: Any
    seed: int = 0
    size: int | None = None
    scale: int = 1
    folders: bool = False
    compression_level: int = 1
    max_pixels: int = MAX_PIXELS


def make_pairs(source: Path, names: Sequence[str], target: Path, options: Options, run: Run) -> Summary:
    """Make a folder of pairs from the images of a folder or database.

    Args:
        source: the folder or database with the ground truth.
        names: of the images: relative to the folder, or the keys of the database; each once.
        target: the folder to be.
        options: what is done to each image.
        run: how the build runs.

    Raises:
        BuildError: the recipe is unknown, the target is the source, or nothing could be made; the message says why and
            what to do.
    """
    if target.resolve() == source.resolve():
        raise BuildError(f'-o {target} is the source itself: choose another name')
    try:
        degrade = build_degradation(options.recipe)
    except ValueError as error:
        raise BuildError(f'--recipe: {error}') from error
    keys = {name: name for name in names} if source.suffix == '.lmdb' else lmdb_keys(names)

    def prepare_all(left: Sequence[str]) -> Iterator[Outcome]:
        images = ((name, keys[name]) for name in left)
        return map_in_processes(partial(prepare, source, options, degrade), run.jobs, images)

    store, suffix = (PlainFolder, '') if options.folders else (LmdbWriter, '.lmdb')
    stores = {f'{side}{suffix}': store for side in ('lq', 'gt')}
    return build(target, names, asdict(options), stores, prepare_all, run)


def list_sources(source: Path, list_file: Path | None) -> list[str]:
    """List the images of a folder, the keys of a database, or what ``list_file`` names of them.

    Raises:
        BuildError: the source or the list is missing, damaged or empty, or the list repeats a name.
    """
    if source.suffix == '.lmdb':
        try:
            keys = list(read_meta_info(source))
            check_size(source)
        except DamagedDatabaseError as error:
            raise BuildError(f'-i {error}') from error
        if not keys:
            raise BuildError(f'-i {source} contains no images')
        if list_file is None:
            return keys
    return read_names(source, list_file)


def prepare(source: Path, options: Options, degrade: Step, image: tuple[str, str]) -> Outcome:
    """Turn one image, (name, key), into its degraded and its ground-truth entry, or into the reason why not."""
    name, key = image
    stored = ImageSource(str(source), name)
    try:
        lq, gt = make_entries(read_encoded(stored, options.max_pixels), stored.stem, key, options, degrade)
    except ImageError as error:
        return Outcome({}, rejected=str(error))
    except UnicodeEncodeError:
        return Outcome({}, rejected='has a name that is not UTF-8, on which the draws depend: rename it')
    suffix = '' if options.folders else '.lmdb'
    return Outcome({f'lq{suffix}': [lq], f'gt{suffix}': [gt]})


def make_entries(data: bytes, stem: str, key: str, options: Options, degrade: Step) -> tuple[Entry, Entry]:
    """Make the degraded and the ground-truth entry of one encoded image.

    The bytes of the ground truth are copied where nothing has to be changed, as ``hifacegan lmdb`` does; into a folder
    only those of PNG files, as the names there end in ``.png``.

    Args:
        data: the encoded image.
        stem: its name without suffix, which the draws depend on, as those of DegradationDataset in validation do.
        key: its key in the pairs.
        options: what to do.
        degrade: the recipe, built.

    Raises:
        ImageError: damaged, too large, smaller than one pixel at ``scale``, or not to be degraded.
    """
    encoded = open_checked(data, options.max_pixels)
    bgr = as_8_bit_bgr(decode(encoded))
    if options.size:
        bgr = resize_shorter_side(bgr, options.size, options.max_pixels)
    height, width = (length // options.scale for length in bgr.shape[:2])
    if min(height, width) == 0:
        raise ImageError(f'has {bgr.shape[1]} x {bgr.shape[0]} pixels, less than --scale')
    bgr = bgr[: height * options.scale, : width * options.scale]

    try:
        degraded = degrade(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), make_generator(options.seed, stem))
    except cv2.error as error:  # such as a side that is too long for a JPEG
        raise ImageError(f'has {bgr.shape[1]} x {bgr.shape[0]} pixels, cannot be degraded: {error.err}') from error
    degraded = fit(degraded, height, width)
    lq = png_entry(key, cv2.cvtColor(degraded, cv2.COLOR_RGB2BGR), options.compression_level)
    if encoded.standard and encoded.shape[:2] == bgr.shape[:2] and (encoded.format == 'PNG' or not options.folders):
        return lq, Entry(key, data, encoded.shape, COPIED)
    return lq, png_entry(key, bgr, options.compression_level)
