"""Jobs: uploads that are restored together, as ``hifacegan restore`` restores a folder, and their results."""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hifacegan_plugin.restore.face_files import describe
from hifacegan_plugin.restore.faces import RestoredFace
from hifacegan_plugin.restore.files import attempt
from hifacegan_plugin.restore.planning import Plan, Task, plan
from hifacegan_plugin.system.files import whole_file


class AbandonedError(Exception):
    """The folder of a job was removed while the job ran, because the user closed the page."""


@dataclass(frozen=True)
class Outcome:
    """The outcome for an upload.

    Attributes:
        source: the upload, under the user's file name.
        target: the restored file; None after a failure.
        problem: why the file could not be restored; empty after a success.
        faces: for each separately restored face, the result of
            :func:`~hifacegan_plugin.restore.face_files.describe`.
    """

    source: Path
    target: Path | None
    problem: str = ''
    faces: tuple[dict[str, Any], ...] = ()


def plan_job(uploads: Sequence[str], folder: Path) -> Plan:
    """Empty the folder of a job and plan which file is restored into which.

    Args:
        uploads: paths that end in the user's file names; several may have the same file name.
        folder: folder of this job; uploads go into ``input``, results into ``output``.

    Raises:
        OSError: an upload has been removed.
    """
    shutil.rmtree(folder, ignore_errors=True)
    (folder / 'input').mkdir(parents=True)
    for upload in map(Path, uploads):
        name = f'_{upload.name}' if upload.name.startswith('.') else upload.name  # the plan would skip hidden files
        os.link(upload, _free_name(folder / 'input' / name))
    return plan(str(folder / 'input'), folder / 'output', None, sheet=False)


def restore_planned(planned: Plan, restore: Callable[[Path, Path], list[RestoredFace]]) -> Iterator[Outcome]:
    """Restore the files one by one and yield an outcome for each, also after failures; failures of the plan come first.

    Args:
        planned: result of :func:`plan_job`.
        restore: result of :meth:`~hifacegan_plugin.app.backend.Backend.file_restorer`.

    Raises:
        AbandonedError: the folder of the job has been removed.
    """
    yield from (Outcome(failure.source, None, failure.reason) for failure in planned.failures)
    for task in planned.tasks:
        outcome = _restore_one(task, restore)
        if not task.source.exists():
            shutil.rmtree(task.target.parent, ignore_errors=True)  # writing the result may have recreated it
            raise AbandonedError
        yield outcome


def zip_results(folder: Path) -> str | None:
    """Store the results of a job so far in a zip file, uncompressed, in the job's folder.

    Returns:
        The path of the zip file; None if there are no results.

    Raises:
        OSError: the zip file cannot be written.
    """
    output = folder / 'output'
    results = sorted(path for path in output.glob('*') if not path.name.startswith('.'))  # hidden: unfinished
    if not results:
        return None
    archive = folder / 'restored.zip'
    with whole_file(archive) as part, zipfile.ZipFile(part, 'w', zipfile.ZIP_STORED) as file:
        for result in results:
            file.write(result, result.name)
    return str(archive)


def _restore_one(task: Task, restore: Callable[[Path, Path], list[RestoredFace]]) -> Outcome:
    faces = list[RestoredFace]()
    if failure := attempt(task, lambda source, target: faces.extend(restore(source, target))):
        return Outcome(task.source, None, failure.reason)
    described = tuple(describe(face, number) for number, face in enumerate(faces, start=1))
    return Outcome(task.source, task.target, faces=described)


def _free_name(path: Path) -> Path:
    """Return the path, with a number if the file already exists: ``a (2).png``."""
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_stem(f'{path.stem} ({number})')
    return free
