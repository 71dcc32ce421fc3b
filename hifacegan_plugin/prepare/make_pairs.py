"""Freeze a degradation: a folder with the degraded and the clean pictures, which BasicSR's PairedImageDataset reads.

    python data_prep/make_pairs.py -i datasets/faces -o datasets/faces_full --recipe full
    python data_prep/make_pairs.py -i datasets/val.lmdb -o datasets/val_sr4x --recipe sr4x --scale 4

gives datasets/faces_full/lq.lmdb and gt.lmdb with the same keys (--folders: plain folders lq and gt of PNG files), so
that every restorer is trained and tested on the same bytes. A picture's degradation depends on --seed and its name
alone: the same seed gives the same bytes, with any number of processes, and the very pictures that DegradationDataset
shows in validation with that seed.

--recipe is the name of a recipe, a step or list of steps as in an options file, or a YAML file with one:
    --recipe '[{type: GaussianBlur, sigma: 2}, {type: JPEG, quality: 40}]'

The folder appears under its name when it is whole; --resume goes on after a kill. Pictures that cannot be taken are
listed with the reason in NAME.rejected.tsv.

Exit status: 0 all pictures are in, 1 some were rejected, 2 nothing was made.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import lmdb
import yaml

from hifacegan_plugin.prepare.basicsr_lmdb import (
    COPIED,
    DamagedDatabaseError,
    Entry,
    LmdbWriter,
    check_size,
    png_entry,
    read_meta_info,
    read_value,
)
from hifacegan_plugin.prepare.build_command import add_build_arguments, not_negative, positive, read_names, run_build
from hifacegan_plugin.prepare.images import (
    MAX_PIXELS,
    ImageError,
    decode_8_bit_bgr,
    inspect,
    read_bytes,
    resize_shorter_side,
)
from hifacegan_plugin.prepare.lmdb_keys import lmdb_keys
from hifacegan_plugin.prepare.plain_folder import PlainFolder
from hifacegan_plugin.prepare.resumable_build import BuildError, Outcome, Summary, build
from hifacegan_plugin.prepare.worker_pool import ordered_map, process_pool


@dataclass(frozen=True)
class Options:
    """What is done to each picture."""

    recipe: Any
    """As `hifacegan_plugin.data.degradations.build_degradation` takes it."""
    seed: int = 0
    """Of all pictures together."""
    size: int | None = None
    """Length of the shorter side to resize the clean picture to."""
    scale: int = 1
    """The degraded picture is this much smaller than the clean one."""
    folders: bool = False
    """Plain folders of PNG files instead of databases."""
    compression_level: int = 1
    """Of the PNG encoder, 1 to 9."""
    max_pixels: int = MAX_PIXELS
    """Pictures with more are rejected, undecoded, and those that `size` would give more."""


def make_pairs(
    source: Path,
    names: Sequence[str],
    target: Path,
    options: Options,
    *,
    jobs: int = os.cpu_count() or 1,
    resume: bool = False,
    overwrite: bool = False,
) -> Summary:
    """Make the folder `target` of pairs from the pictures `names` of a folder or database; see the module's text.

    Raises:
        BuildError: An unknown recipe, the source as target, or nothing could be made; the message says why and what to
            do.
    """
    if target.resolve() == source.resolve():
        raise BuildError(f'-o {target} is the source itself: choose another name')

    # The plugin brings the host with it, which takes seconds: after the command line has been found in order.
    from hifacegan_plugin.data.degradations import build_degradation

    try:
        degrade = build_degradation(options.recipe)
    except ValueError as error:
        raise BuildError(f'--recipe: {error}') from error
    keys = {name: name for name in names} if source.suffix == '.lmdb' else lmdb_keys(names)
    prepare_one = partial(prepare, source, options, degrade)

    def prepare_all(left: Sequence[str]) -> Iterator[Outcome]:
        try:
            with process_pool(jobs) as executor:
                yield from ordered_map(executor, prepare_one, ((name, keys[name]) for name in left), window=4 * jobs)
        except BrokenProcessPool as error:
            raise BuildError('a worker process was killed (out of memory?): run the same command with --resume and '
                             'fewer --jobs') from error

    store, suffix = (PlainFolder, '') if options.folders else (LmdbWriter, '.lmdb')
    stores = {f'{side}{suffix}': store for side in ('lq', 'gt')}
    return build(target, names, asdict(options), stores, prepare_all, resume=resume, overwrite=overwrite)


def list_sources(source: Path, list_file: Path | None) -> list[str]:
    """List the pictures of a folder, the keys of a database, or what `list_file` names of them.

    Raises:
        BuildError: The source or the list is missing, damaged or empty, or the list repeats a name.
    """
    if source.suffix == '.lmdb':
        try:
            keys = list(read_meta_info(source))
            check_size(source)
        except DamagedDatabaseError as error:
            raise BuildError(f'-i {error}') from error
        if not keys:
            raise BuildError(f'-i {source} has no pictures in it')
        if list_file is None:
            return keys
    return read_names(source, list_file)


def prepare(source: Path, options: Options, degrade: Any, picture: tuple[str, str]) -> Outcome:
    """Turn one picture, (name, key), into its degraded and its clean entry, or into the reason why not."""
    from hifacegan_plugin.images.sources import ImageSource

    name, key = picture
    stem = ImageSource(str(source), name).stem
    try:
        lq, gt = make_entries(read_source(source, name, options.max_pixels), stem, key, options, degrade)
    except ImageError as error:
        return Outcome({}, rejected=str(error))
    except UnicodeEncodeError:
        return Outcome({}, rejected='its name, on which the draws depend, is not UTF-8: rename it')
    suffix = '' if options.folders else '.lmdb'
    return Outcome({f'lq{suffix}': [lq], f'gt{suffix}': [gt]})


def read_source(source: Path, name: str, max_pixels: int) -> bytes:
    """Read an encoded picture from a folder or a database.

    Raises:
        ImageError: It is not there or cannot be read.
    """
    if source.suffix != '.lmdb':
        return read_bytes(source / name, max_pixels)
    try:
        value = read_value(source, name)
    except lmdb.Error as error:
        raise ImageError(f'cannot be read: {error}') from error
    if value is None:
        raise ImageError('no such key in the database')
    return value


def make_entries(data: bytes, stem: str, key: str, options: Options, degrade: Any) -> tuple[Entry, Entry]:
    """Make the degraded and the clean entry of one encoded picture.

    The clean bytes are copied where nothing has to be changed, as `create_lmdb.py` does; in a folder only those of PNG
    files, as the names there end in `.png`.

    Args:
        data: The encoded picture.
        stem: Its name without suffix, which the draws depend on, as those of DegradationDataset in validation do.
        key: Its key in the pairs.
        options: What to do.
        degrade: The recipe, built.

    Raises:
        ImageError: Damaged, too large, smaller than one pixel at `scale`, or not to be degraded.
    """
    from hifacegan_plugin.data.degradations import fit, make_generator

    header = inspect(data, options.max_pixels)
    bgr = decode_8_bit_bgr(data, options.max_pixels)
    if options.size:
        bgr = resize_shorter_side(bgr, options.size, options.max_pixels)
    height, width = (length // options.scale for length in bgr.shape[:2])
    if min(height, width) == 0:
        raise ImageError(f'{bgr.shape[1]}x{bgr.shape[0]} pixels, smaller than --scale')
    bgr = bgr[:height * options.scale, :width * options.scale]

    try:
        degraded = degrade(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), make_generator(options.seed, stem))
    except cv2.error as error:  # such as a side that is too long for a JPEG
        raise ImageError(f'{bgr.shape[1]}x{bgr.shape[0]} pixels, cannot be degraded: {error.err}') from error
    degraded = fit(degraded, height, width)
    lq = png_entry(key, cv2.cvtColor(degraded, cv2.COLOR_RGB2BGR), options.compression_level)
    if header.copyable and header.shape[:2] == bgr.shape[:2] and (header.format == 'PNG' or not options.folders):
        return lq, Entry(key, data, header.shape, COPIED)
    return lq, png_entry(key, bgr, options.compression_level)


def read_recipe(text: str) -> Any:
    """Read a recipe from the command line: a name, YAML, or a file of it."""
    try:
        path = Path(text)
        return yaml.safe_load(path.read_text() if path.suffix in ('.yml', '.yaml') else text)
    except (OSError, yaml.YAMLError) as error:
        raise argparse.ArgumentTypeError(f'{text!r}: {error}') from error


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('-i', '--input', type=Path, required=True, metavar='SOURCE',
                        help='the clean pictures: a folder, or a database NAME.lmdb')
    parser.add_argument('-o', '--output', type=Path, required=True, metavar='FOLDER', help='where the pairs go')
    parser.add_argument('--recipe', type=read_recipe, required=True, help='name, steps or YAML file')
    parser.add_argument('--seed', type=not_negative, default=0, help='another seed, other draws (default: 0)')
    parser.add_argument('--scale', type=positive, default=1, help='make the degraded pictures this much smaller '
                        '(default: 1, the same size)')
    parser.add_argument('--folders', action='store_true', help='plain folders of PNG files instead of databases')
    add_build_arguments(parser)
    return parser.parse_args()


def main() -> int:
    """Run the command; returns the exit status."""
    arguments = parse_arguments()
    options = Options(
        recipe=arguments.recipe,
        seed=arguments.seed,
        size=arguments.size,
        scale=arguments.scale,
        folders=arguments.folders,
        compression_level=arguments.compression_level,
        max_pixels=arguments.max_pixels,
    )

    def work() -> Summary:
        return make_pairs(
            arguments.input, list_sources(arguments.input, arguments.list), arguments.output, options,
            jobs=arguments.jobs, resume=arguments.resume, overwrite=arguments.overwrite,
        )

    return run_build('make_pairs.py', arguments.output, work)

