"""Plan which file is restored into which: find images and videos by a path, folder or glob, and name the results."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

from hifacegan_plugin.images.encoding import WRITABLE
from hifacegan_plugin.images.files import SUFFIXES, is_image_name, list_files
from hifacegan_plugin.restore.videos.options import RESULT_SUFFIXES, VIDEO_FORMATS, VIDEOS
from hifacegan_plugin.system.files import made_folder


class InputError(ValueError):
    """The given paths or options are wrong; the message is for the user."""


class Task(NamedTuple):
    """A file to restore, and the file for its result."""

    source: Path
    target: Path


class Failure(NamedTuple):
    """A file that could not be restored, and why."""

    source: Path
    reason: str


class Plan(NamedTuple):
    """The files to restore, in a fixed order, and those that cannot be restored."""

    tasks: list[Task]
    failures: list[Failure]  # files that cannot be restored, and folders that cannot be searched
    others: list[Path]  # found in folders, neither images nor videos by their names
    folder: Path  # for the results; it need not exist yet


def plan(pattern: str, output: Path, file_format: str | None, sheet: bool) -> Plan:
    """Find the files to restore, and name the results. Nothing is written.

    Args:
        pattern: an image, a video, a folder (searched recursively) or a glob.
        output: folder for the results, or a file name for a single result.
        file_format: suffix of the results without the dot, for images or for videos; None: the suffix of each input.
        sheet: whether contact sheets (:func:`sheet_of`) are written, too.

    Raises:
        InputError: if nothing is found, or the results cannot have the given name or format.
    """
    found = _find_files(pattern, output)
    if _names_a_file(output):
        task = _plan_one(pattern, found, output, file_format)
        return Plan([task], found.failures, found.others, output.parent)
    tasks, failures = _plan_many(found, output, file_format, sheet)
    return Plan(tasks, found.failures + failures, found.others, output)


@contextmanager
def output_folder(folder: Path) -> Iterator[None]:
    """Make the folder for the results, unless it exists; remove it at the end if it has none.

    Raises:
        InputError: if the folder cannot be made.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(made_folder(folder))
        except OSError as error:
            raise InputError(f'{folder} cannot be the output folder ({error.strerror})') from error
        yield


def sheet_of(target: Path) -> Path:
    """Return the path of the sheet that shows input and result side by side."""
    return target.with_stem(target.stem + '_sheet')


class _Found(NamedTuple):
    """The files that an argument names, and the folder to which the names of the results are relative."""

    root: Path
    files: list[Path]
    others: list[Path]  # files of other types, which are skipped
    failures: list[Failure]  # folders that cannot be searched


def _find_files(pattern: str, output: Path) -> _Found:
    """Find the files to restore.

    Raises:
        InputError: if the path does not exist, or nothing is found.
    """
    given = Path(pattern)
    if not (given.exists() or _is_glob(given)):
        raise InputError(f'{pattern}: no such file or folder. Check the path.')
    if given.is_dir():
        found = _search(given, output)
    else:
        files = [path for path in ([given] if given.exists() else _glob(given)) if not path.is_dir()]
        found = _Found(Path(os.path.commonpath([path.parent for path in files])) if files else given, files, [], [])
    if not (found.files or found.failures):
        raise InputError(f'{pattern}: no image or video found. Supported: {", ".join(SUFFIXES + VIDEOS)}.')
    return found


def _search(root: Path, output: Path) -> _Found:
    """Search a folder recursively, following links; skip results of earlier runs and hidden files.

    Hidden files are, for example, half-written files and thumbnails.
    """
    found = _Found(root, [], [], [])

    def fail(error: OSError) -> None:
        found.failures.append(Failure(Path(error.filename), f'cannot be searched ({error.strerror})'))

    for name in list_files(root, fail, leave_out=[output]):
        (found.files if is_image_name(name) or name.lower().endswith(VIDEOS) else found.others).append(root / name)
    return found


def _is_glob(path: Path) -> bool:
    return any(_changes(part) for part in path.parts)


def _changes(part: str) -> bool:
    """Return whether a part of a glob contains a wildcard."""
    return bool(set(part) & set('*?['))


def _glob(pattern: Path) -> list[Path]:
    """Expand ``*``, ``?``, ``[...]`` and ``**`` to paths that are not hidden; ``**`` does not follow link cycles."""
    fixed = list(takewhile(lambda part: not _changes(part), pattern.parts))
    changing = pattern.parts[len(fixed) :]
    try:
        paths = Path(*fixed).glob(str(Path(*changing))) if changing else ()
        return [path for path in paths if not any(part[0] == '.' for part in path.parts[len(fixed) :])]
    except ValueError as error:
        raise InputError(f'{pattern}: {error}') from error


def _names_a_file(output: Path) -> bool:
    """Return whether the output path names a file for a single result, not a folder."""
    return output.suffix.lower() in SUFFIXES + VIDEOS and not output.is_dir()


def _plan_one(given: str, found: _Found, output: Path, file_format: str | None) -> Task:
    """Plan to restore one file into ``output``.

    Raises:
        InputError: if ``given`` is a folder or a glob, or the result cannot be written to ``output``.
    """
    source = Path(given)
    if found.files != [source]:
        raise InputError(f'{output} names a file, but {given} may match several: give a folder for the results.')
    kind, suffixes = ('video', VIDEO_FORMATS) if source.suffix.lower() in VIDEOS else ('image', WRITABLE)
    if output.suffix.lower() not in suffixes:
        raise InputError(f'{output}: the result of one {kind} must end in one of {", ".join(suffixes)}. Rename it.')
    if file_format and output.suffix.lower() != f'.{file_format}':
        raise InputError(f'{output} and --format {file_format} contradict each other: leave --format out.')
    if output.exists() and output.samefile(source):
        raise InputError(f'{output} would be overwritten by its own result: choose another name.')
    return Task(source, output)


def _plan_many(found: _Found, output: Path, file_format: str | None, sheet: bool) -> tuple[list[Task], list[Failure]]:
    """Name the results, in a fixed order.

    If two results would get the same name, the file whose suffix changes keeps its old suffix, too: ``a.gif`` and
    ``a.png`` become ``a.gif.png`` and ``a.png``.
    """
    root, files = found.root, found.files
    wanted = {file: output / file.relative_to(root).with_suffix(_target_suffix(file, file_format)) for file in files}
    claims = Counter(wanted.values())
    tasks, failures = list[Task](), list[Failure]()
    taken: dict[Path, Path] = {}  # result -> its source
    # Files whose results keep their full names come first.
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


def _target_suffix(source: Path, file_format: str | None) -> str:
    suffix = source.suffix.lower()
    wanted = f'.{file_format}'
    if suffix in VIDEOS:
        return wanted if wanted in VIDEO_FORMATS else RESULT_SUFFIXES[suffix]
    if wanted in WRITABLE:
        return wanted
    return source.suffix if suffix in WRITABLE else '.png'
