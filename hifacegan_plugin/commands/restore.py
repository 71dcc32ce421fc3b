"""``hifacegan restore -i photos -o results``: images, folders, globs and videos.

``torchrun --nproc_per_node=4 -m hifacegan_plugin restore ...`` shares the files out among processes.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.distributed as dist
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from hifacegan_plugin.commands.arguments import positive, positive_whole, whole
from hifacegan_plugin.commands.network_options import add_untraced_options, given_options
from hifacegan_plugin.images.decoding import MAX_PIXELS, ImageError
from hifacegan_plugin.images.files import SUFFIXES, is_image_name, list_files
from hifacegan_plugin.images.photographs import WRITABLE, read_photograph, write_photograph
from hifacegan_plugin.restore.engines import DTYPES, ENGINES, EngineError
from hifacegan_plugin.restore.footprint import GIB
from hifacegan_plugin.restore.restorer import Restorer
from hifacegan_plugin.restore.video import CODECS, RESULT_SUFFIXES, VIDEO_FORMATS, VIDEOS, VideoOptions, restore_video
from hifacegan_plugin.weights import PACKAGED, WeightsError, load_generator


class InputError(ValueError):
    """Paths or options that name nothing that could be restored; the message is for the user."""


class Task(NamedTuple):
    """A file to restore and where the result goes."""

    source: Path
    target: Path


class Failure(NamedTuple):
    """A file that could not be restored, and why."""

    source: Path
    reason: str


class Found(NamedTuple):
    """What an argument names, and the folder below which names are kept in the results."""

    root: Path
    files: list[Path]
    others: list[Path]  # of other kinds, left out
    failures: list[Failure]  # folders that cannot be searched


class Tally(NamedTuple):
    """What became of the files."""

    restored: int
    done_before: int
    failures: list[Failure]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``hifacegan restore``."""
    parser.add_argument('-i', '--input', required=True, help='image, video, folder (searched through) or glob')
    parser.add_argument(
        '-o', '--output', required=True, type=Path, help='folder for the results, or the file for the result of one'
    )
    weights = parser.add_mutually_exclusive_group()
    weights.add_argument(
        '--model', default='general', choices=PACKAGED,
        help='a network that comes with the package; hifacegan models tells of each (default: %(default)s)',
    )  # fmt: skip
    weights.add_argument('-w', '--weights', type=Path, metavar='FILE', help='your own, .pth or .safetensors')
    add_untraced_options(parser)
    parser.add_argument('--engine', default='auto', choices=('auto', *ENGINES), help='what computes (default: auto)')
    parser.add_argument('--dtype', default='float32', choices=DTYPES, help='precision (default: float32)')
    parser.add_argument(
        '--threads', type=positive_whole, metavar='N', help='processor cores to use (default: as many as torch takes)'
    )
    parser.add_argument(
        '--memory', type=positive, metavar='GIB',
        help='what one image may take; larger ones are restored more slowly from less (default: 3; on a CUDA device, '
        'most of what is free there)',
    )  # fmt: skip
    parser.add_argument(
        '--max-megapixels',
        type=positive,
        default=MAX_PIXELS / 1e6,
        metavar='MP',
        help='refuse larger images (default: %(default)g)',
    )
    parser.add_argument(
        '--format', choices=[suffix[1:] for suffix in (*WRITABLE, *VIDEO_FORMATS)],
        help='of the results of its kind, images or videos (default: that of the input)',
    )  # fmt: skip
    parser.add_argument('--resume', action='store_true', help='leave out what the output folder already holds')
    parser.add_argument('--sheet', action='store_true', help='also write images and their results side by side')
    videos = parser.add_argument_group('videos')
    videos.add_argument('--codec', default='h264', choices=CODECS, help='of the results (default: h264)')
    videos.add_argument(
        '--crf', type=whole, metavar='N',
        help='constant rate factor, from 0: the smaller, the better and the larger the file (default: '
        + ', '.join(f'{codec.crf} for {name}' for name, codec in CODECS.items()) + ')',
    )  # fmt: skip
    videos.add_argument('--temporal', action='store_true', help='less flicker: smooth along the motion of the input')


def run(arguments: argparse.Namespace) -> int:
    """Restore everything; 0 if nothing failed, 1 if something did (0 under torchrun), 2 if nothing could start."""
    arguments.weights = arguments.weights or PACKAGED[arguments.model]
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    rank, processes = int(os.environ.get('RANK', 0)), int(os.environ.get('WORLD_SIZE', 1))
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get('LOCAL_RANK', 0)))
    try:
        video_options = VideoOptions(arguments.codec, arguments.crf, arguments.temporal)
    except ValueError as error:
        print(f'hifacegan restore: {error}', file=sys.stderr)
        return 2
    try:
        found = find_files(arguments.input, arguments.output)
        if names_a_file(arguments.output):
            tasks = [plan_one(arguments.input, found, arguments.output, arguments.format)]
            failures: list[Failure] = []
            make_folder(arguments.output.parent)
        else:
            tasks, failures = plan(found, arguments.output, arguments.format, arguments.sheet)
            make_folder(arguments.output)
        generator = load_generator(arguments.weights, **given_options(arguments))
        memory = int(arguments.memory * GIB) if arguments.memory else None
        restorer = Restorer(generator, arguments.engine, arguments.dtype, memory)
    except (WeightsError, EngineError, InputError, OSError) as error:
        print(f'hifacegan restore: {error}', file=sys.stderr)
        return 2
    tally = work_through(restorer, tasks[rank::processes], arguments, video_options)
    if processes > 1:
        tally = join_tallies(tally)
    failures = found.failures + failures + tally.failures
    if rank == 0:
        if found.others:
            kinds = ', '.join(sorted({other.suffix.lower() or 'no suffix' for other in found.others}))
            print(f'left out, neither images nor videos by their names: {len(found.others)} ({kinds})')
        print(f'{tally.restored} restored, {tally.done_before} done before, {len(failures)} failed')
        for failure in failures:
            source = str(failure.source)
            print(f'failed: {source if source.isprintable() else ascii(source)} {failure.reason}', file=sys.stderr)
    # torchrun would call a status of 1 a crash, with a traceback of its own below the list of failures.
    return 1 if failures and not dist.is_torchelastic_launched() else 0


def work_through(
    restorer: Restorer, tasks: list[Task], arguments: argparse.Namespace, video_options: VideoOptions
) -> Tally:
    """Restore the files of this process, whatever happens to single ones."""
    waiting = [task for task in tasks if not (arguments.resume and task.target.exists())]
    done_before, failures = len(tasks) - len(waiting), []
    position = int(os.environ.get('LOCAL_RANK', 0))
    to_video = partial(restore_video, options=video_options, resume=arguments.resume, network=_network(arguments))
    with logging_redirect_tqdm([logging.getLogger('basicsr')]):
        for task in tqdm(waiting, unit='image', disable=None, position=position):
            if arguments.resume and task.target.exists():  # meanwhile, by another run beside this
                done_before += 1
                continue
            try:
                restore_file(restorer, task, arguments.sheet, int(arguments.max_megapixels * 1e6), to_video)
            except (ValueError, OSError, RuntimeError, MemoryError, cv2.error) as error:
                failures.append(Failure(task.source, str(error)))
    return Tally(len(tasks) - done_before - len(failures), done_before, failures)


def _network(arguments: argparse.Namespace) -> str:
    """Identify what restores the frames of a video."""
    others = ('input', 'output', 'format', 'resume', 'sheet', 'threads', 'max_megapixels')
    options = {name: str(value) for name, value in vars(arguments).items() if name not in others}
    return f'{sorted(options.items())} {arguments.weights.stat().st_mtime_ns}'


def join_tallies(tally: Tally) -> Tally:
    """Wait for all processes, because torchrun ends the others as soon as one exits with an error; add them up."""
    dist.init_process_group('gloo', timeout=timedelta(days=30))
    tallies = [tally] * dist.get_world_size()
    dist.all_gather_object(tallies, tally)
    dist.destroy_process_group()
    restored, done_before, failures = zip(*tallies)
    return Tally(sum(restored), sum(done_before), [failure for share in failures for failure in share])


def plan(found: Found, output: Path, file_format: str | None, sheet: bool) -> tuple[list[Task], list[Failure]]:
    """Name the results, in a fixed order.

    A result whose name another file has a better claim to keeps the old suffix: of ``a.gif`` and ``a.png`` become
    ``a.gif.png`` and ``a.png``.
    """
    root, files = found.root, found.files
    wanted = {file: output / file.relative_to(root).with_suffix(_target_suffix(file, file_format)) for file in files}
    claims = Counter(wanted.values())
    tasks, failures = list[Task](), list[Failure]()
    taken: dict[Path, Path] = {}  # results, and what they are made of
    # Files whose results keep their whole names come first.
    for source, target in sorted(wanted.items(), key=lambda pair: (pair[0].name != pair[1].name, pair[0])):
        renamed = claims[target] > 1 and source.name != target.name
        task = Task(source, target.with_name(source.name + target.suffix) if renamed else target)
        results = [task.target, sheet_of(task.target)] if sheet else [task.target]
        if rival := next((taken[result] for result in results if result in taken), None):
            failures.append(Failure(source, f'has the same result file as {rival}: restore it into another folder'))
        elif task.target.exists() and task.target.samefile(source):
            failures.append(Failure(source, 'would be overwritten by its own result: choose another output folder'))
        else:
            tasks.append(task)
            taken |= dict.fromkeys(results, source)
    return sorted(tasks), failures


def make_folder(folder: Path) -> None:
    """Make the folder for the results, unless it is there.

    Raises:
        InputError: if there can be no such folder.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f'{folder} cannot be the output folder ({error.strerror})') from error


def names_a_file(output: Path) -> bool:
    """Return whether results are to go into one file of this name instead of a folder."""
    return output.suffix.lower() in SUFFIXES + VIDEOS and not output.is_dir()


def plan_one(given: str, found: Found, output: Path, file_format: str | None) -> Task:
    """Plan to restore one file into ``output``.

    Raises:
        InputError: if ``given`` is a folder or a glob, or the result cannot be written under that name.
    """
    source = Path(given)
    if found.files != [source]:
        raise InputError(f'{output} is the name of a file, but {given} may be many: name a folder for the results.')
    kind, suffixes = ('video', VIDEO_FORMATS) if source.suffix.lower() in VIDEOS else ('image', WRITABLE)
    if output.suffix.lower() not in suffixes:
        raise InputError(f'{output}: the result of one {kind} is written as {", ".join(suffixes)}. Rename it.')
    if file_format and output.suffix.lower() != f'.{file_format}':
        raise InputError(f'{output} and --format {file_format} contradict each other: leave --format out.')
    if output.exists() and output.samefile(source):
        raise InputError(f'{output} would be overwritten by its own result: choose another name.')
    return Task(source, output)


def find_files(pattern: str, output: Path) -> Found:
    """Find what is to be restored.

    Raises:
        InputError: if nothing is found.
    """
    given = Path(pattern)
    if given.is_dir():
        found = _search(given, output)
    else:
        files = [path for path in ([given] if given.exists() else _glob(given)) if not path.is_dir()]
        found = Found(Path(os.path.commonpath([path.parent for path in files])) if files else given, files, [], [])
    if not (found.files or found.failures):
        raise InputError(f'{pattern}: no image or video there. It reads {", ".join(SUFFIXES + VIDEOS)}.')
    return found


def _search(root: Path, output: Path) -> Found:
    """Search a folder and those below it, links included, but for the results of earlier runs and for what is hidden,
    such as half-written files and thumbnails.
    """
    found = Found(root, [], [], [])

    def fail(error: OSError) -> None:
        found.failures.append(Failure(Path(error.filename), f'cannot be searched ({error.strerror})'))

    for name in list_files(root, fail, leave_out=[output]):
        (found.files if is_image_name(name) or name.lower().endswith(VIDEOS) else found.others).append(root / name)
    return found


def _glob(pattern: Path) -> list[Path]:
    """Expand ``*``, ``?``, ``[...]`` and ``**``, which does not follow symbolic links round in circles, to what is not
    hidden.
    """
    fixed = list(takewhile(lambda part: not set(part) & set('*?['), pattern.parts))
    changing = pattern.parts[len(fixed) :]
    try:
        paths = Path(*fixed).glob(str(Path(*changing))) if changing else ()
        return [path for path in paths if not any(part[0] == '.' for part in path.parts[len(fixed) :])]
    except ValueError as error:
        raise InputError(f'{pattern}: {error}') from error


def _target_suffix(source: Path, file_format: str | None) -> str:
    suffix = source.suffix.lower()
    wanted = f'.{file_format}'
    if suffix in VIDEOS:
        return wanted if wanted in VIDEO_FORMATS else RESULT_SUFFIXES[suffix]
    if wanted in WRITABLE:
        return wanted
    return source.suffix if suffix in WRITABLE else '.png'


def sheet_of(target: Path) -> Path:
    """Name the sheet of input and result side by side."""
    return target.with_stem(target.stem + '_sheet')


def restore_file(
    restorer: Restorer, task: Task, sheet: bool, max_pixels: int, to_video: Callable[[Restorer, Path, Path], int]
) -> None:
    """Restore one image, or one video by ``to_video``.

    Raises:
        ImageError: if it cannot be read or the result cannot be written.
    """
    if not task.source.is_file() and task.source.exists():  # a pipe, a device: reading it may never end
        raise ImageError('is no regular file')
    if task.source.suffix.lower() in VIDEOS:
        to_video(restorer, task.source, task.target)
        return
    photograph = read_photograph(task.source, max_pixels)
    restored = replace(photograph, pixels=restorer(photograph.pixels))
    if sheet:
        side_by_side = replace(photograph, pixels=np.concatenate([photograph.pixels, restored.pixels], axis=1))
        write_photograph(sheet_of(task.target), side_by_side)
    write_photograph(task.target, restored)
