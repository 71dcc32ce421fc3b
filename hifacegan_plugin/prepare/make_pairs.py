"""Make pairs of degraded and clean images for BasicSR's PairedImageDataset: ``hifacegan pairs``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2

from hifacegan_plugin.data.degradations import Step, build_degradation, fit, make_generator
from hifacegan_plugin.images.decoding import as_8_bit_bgr, decode
from hifacegan_plugin.images.image_error import ImageError
from hifacegan_plugin.images.lmdb_keys import lmdb_keys
from hifacegan_plugin.images.opening import MAX_PIXELS, open_checked
from hifacegan_plugin.images.sources import ImageSource, ListedNames, read_encoded
from hifacegan_plugin.prepare.build_error import BuildError
from hifacegan_plugin.prepare.names import read_names, read_shapes
from hifacegan_plugin.prepare.resumable_build import Outcome, Run, Summary, build
from hifacegan_plugin.prepare.shorter_side import resize_shorter_side
from hifacegan_plugin.prepare.stores import COPIED, Entry, LmdbWriter, PlainFolder, png_entry
from hifacegan_plugin.prepare.worker_pool import map_in_processes


@dataclass(frozen=True)
class Options:
    """How pairs are made.

    Attributes:
        recipe: argument of :func:`~hifacegan_plugin.data.degradations.build_degradation`.
        seed: seed of the degradations; each image also depends on its name.
        size: resize the shorter side of the ground truth to this length, in pixels; None keeps the size.
        scale: factor by which degraded images are smaller than the ground truth.
        folders: make folders of PNG files instead of databases.
        compression_level: compression level of PNG files, 1 to 9.
        max_pixels: reject images with more pixels, before decoding or after resizing.
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
        source: folder or database with the ground truth.
        names: unique file names relative to the folder, or keys of the database.
        target: folder for the pairs.
        options: how pairs are made.
        run: how the build runs.

    Raises:
        BuildError: the recipe is unknown, the target is the source, or nothing was made; the message says why and what
            to do.
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
    """List the images of a folder or the keys of a database; with ``list_file``, only those that it names.

    Of a database, the list may hold keys and the names that the images had in their folder.

    Raises:
        BuildError: the source or the list is missing, damaged or empty, or the list repeats an image or has a name that
            may mean two.
    """
    if source.suffix != '.lmdb':
        return read_names(source, list_file)
    stored, listed = list(read_shapes(source)), dict[str, str]()
    if list_file is None:
        return stored
    names = ListedNames([ImageSource(str(source), key) for key in stored])
    for name in read_names(source, list_file):
        try:
            index = names.find(name, str(list_file))
        except ValueError as error:
            raise BuildError(f'{error}') from error
        key = name if index is None else stored[index]
        if key in listed:
            raise BuildError(f'{list_file} names one image twice, as {listed[key]} and {name}')
        listed[key] = name
    return list(listed)


def prepare(source: Path, options: Options, degrade: Step, image: tuple[str, str]) -> Outcome:
    """Return the degraded and the ground-truth entry of an image (name, key), or why it is rejected."""
    name, key = image
    stored = ImageSource(str(source), name)
    try:
        lq, gt = make_entries(read_encoded(stored, options.max_pixels), stored.stem, key, options, degrade)
    except ImageError as error:
        return Outcome({}, rejected=str(error))
    except UnicodeEncodeError:
        return Outcome({}, rejected='has a name that is not valid UTF-8, and the degradation depends on it: rename it')
    suffix = '' if options.folders else '.lmdb'
    return Outcome({f'lq{suffix}': [lq], f'gt{suffix}': [gt]})


def make_entries(data: bytes, stem: str, key: str, options: Options, degrade: Step) -> tuple[Entry, Entry]:
    """Return the degraded and the ground-truth entry of an encoded image.

    The encoded ground truth is copied if its pixels do not change. Folders hold only PNG files, so images in other
    formats are encoded again.

    Args:
        data: the encoded image.
        stem: name without suffix; it determines the degradation, as for DegradationDataset in validation.
        key: key of both entries.
        options: how pairs are made.
        degrade: the recipe, as a function.

    Raises:
        ImageError: the image is damaged, too large, smaller than ``scale``, or cannot be degraded.
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
    except cv2.error as error:  # for example, a side is too long for JPEG
        raise ImageError(f'has {bgr.shape[1]} x {bgr.shape[0]} pixels, cannot be degraded: {error.err}') from error
    degraded = fit(degraded, height, width)
    lq = png_entry(key, cv2.cvtColor(degraded, cv2.COLOR_RGB2BGR), options.compression_level)
    if encoded.standard and encoded.shape[:2] == bgr.shape[:2] and (encoded.format == 'PNG' or not options.folders):
        return lq, Entry(key, data, encoded.shape, COPIED)
    return lq, png_entry(key, bgr, options.compression_level)
