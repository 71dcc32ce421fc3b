"""What is restored into which file: images and videos found by a path, a folder or a glob, and their results."""

from __future__ import annotations

import os
from collections import Counter
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

from hifacegan_plugin.images.encoding import WRITABLE
from hifacegan_plugin.images.files import SUFFIXES, is_image_name, list_files
from hifacegan_plugin.restore.videos.options import RESULT_SUFFIXES, VIDEO_FORMATS, VIDEOS


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


class Plan(NamedTuple):
    """What is to be done, in a fixed order, and what cannot be."""

    tasks: list[Task]
    failures: list[Failure]  # of files and of folders that cannot be searched
    others: list[Path]  # found in folders, neither images nor videos by their names
    folder: Path  # for the results; it may not be there yet


def plan(pattern: str, output: Path, file_format: str | None, sheet: bool) -> Plan:
    """Find what is to be restored, and name the results. Nothing is written.

    Args:
        pattern: an image, a video, a folder (searched through) or a glob.
        output: folder for the results, or the file for the result of one.
        file_format: suffix without the dot of the results of its kind, images or videos; None: that of the input.
        sheet: whether the files of :func:`sheet_of` are written, too.

    Raises:
        InputError: if nothing is found, or there can be no such results.
    """
    found = _find_files(pattern, output)
    if _names_a_file(output):
        task = _plan_one(pattern, found, output, file_format)
        return Plan([task], found.failures, found.others, output.parent)
    tasks, failures = _plan_many(found, output, file_format, sheet)
    return Plan(tasks, found.failures + failures, found.others, output)


def make_folder(folder: Path) -> None:
    """Make the folder for the results, unless it is there.

    Raises:
        InputError: if there can be no such folder.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f'{folder} cannot be the output folder ({error.strerror})') from error


def sheet_of(target: Path) -> Path:
    """Name the sheet of input and result side by side."""
    return target.with_stem(target.stem + '_sheet')


class _Found(NamedTuple):
    """What an argument names, and the folder below which names are kept in the results."""

    root: Path
    files: list[Path]
    others: list[Path]  # of other kinds, left out
    failures: list[Failure]  # folders that cannot be searched


def _find_files(pattern: str, output: Path) -> _Found:
    """Find what is to be restored.

    Raises:
        InputError: if there is no such path, or nothing is found.
    """
    given = Path(pattern)
    if not (given.exists() or _is_glob(given)):
        raise InputError(f'{pattern}: there is no such file or folder. Check the path.')
    if given.is_dir():
        found = _search(given, output)
    else:
        files = [path for path in ([given] if given.exists() else _glob(given)) if not path.is_dir()]
        found = _Found(Path(os.path.commonpath([path.parent for path in files])) if files else given, files, [], [])
    if not (found.files or found.failures):
        raise InputError(f'{pattern}: no image or video there. It reads {", ".join(SUFFIXES + VIDEOS)}.')
    return found


def _search(root: Path, output: Path) -> _Found:
    """Search a folder and those below it, links included, but for the results of earlier runs and for what is hidden,
    such as half-written files and thumbnails.
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
    """Return whether a part of a glob stands for several names."""
    return bool(set(part) & set('*?['))


def _glob(pattern: Path) -> list[Path]:
    """Expand ``*``, ``?``, ``[...]`` and ``**``, which does not follow symbolic links round in circles, to what is not
    hidden.
    """
    fixed = list(takewhile(lambda part: not _changes(part), pattern.parts))
    changing = pattern.parts[len(fixed) :]
    try:
        paths = Path(*fixed).glob(str(Path(*changing))) if changing else ()
        return [path for path in paths if not any(part[0] == '.' for part in path.parts[len(fixed) :])]
    except ValueError as error:
        raise InputError(f'{pattern}: {error}') from error


def _names_a_file(output: Path) -> bool:
    """Return whether results are to go into one file of this name instead of a folder."""
    return output.suffix.lower() in SUFFIXES + VIDEOS and not output.is_dir()


def _plan_one(given: str, found: _Found, output: Path, file_format: str | None) -> Task:
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


def _plan_many(found: _Found, output: Path, file_format: str | None, sheet: bool) -> tuple[list[Task], list[Failure]]:
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


def _target_suffix(source: Path, file_format: str | None) -> str:
    suffix = source.suffix.lower()
    wanted = f'.{file_format}'
    if suffix in VIDEOS:
        return wanted if wanted in VIDEO_FORMATS else RESULT_SUFFIXES[suffix]
    if wanted in WRITABLE:
        return wanted
    return source.suffix if suffix in WRITABLE else '.png'
