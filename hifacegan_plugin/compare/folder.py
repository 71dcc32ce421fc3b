"""The output folder of a comparison: images, and logs of progress to resume from.

Images are in ``images/<set>/{degraded,truth,<restorer>}/<name>.png``. Logs in ``progress/`` have a line for each image.
The first line of a log records the inputs of its step; if these change, the log is started again.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from hifacegan_plugin.system.files import made_folder, write_file
from hifacegan_plugin.system.locks import InUseError, take


class Folder:
    """Paths in the output folder ``root``."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.progress = root / 'progress'

    def images(self, test_set: str, which: str) -> Path:
        """Return the folder of the images of a test set: ``degraded``, ``truth`` or a restorer's label."""
        return self.root / 'images' / test_set / which

    def image(self, test_set: str, which: str, name: str) -> Path:
        """Return the file of an image in :meth:`images`."""
        return self.images(test_set, which) / f'{name}.png'

    def read_image(self, test_set: str, which: str, name: str) -> np.ndarray:
        """Read an image in :meth:`images`, as uint8 RGB ``(H, W, 3)``.

        Raises:
            OSError: the file cannot be read or decoded.
        """
        path = self.image(test_set, which, name)
        try:
            image = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
        except cv2.error:  # an empty file
            image = None
        if image is None:
            raise OSError(f'{path} is not an image; remove it and run with --resume')
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)

    def log(self, test_set: str, label: str, step: str) -> Path:
        """Return the log of a restorer's step (``restored`` or ``measured``) on a test set."""
        return self.progress / test_set / f'{label}.{step}.jsonl'

    def test_set(self, test_set: str) -> Path:
        """Return the file that describes a written test set."""
        return self.progress / f'{test_set}.test_set.json'

    def summary(self, label: str) -> Path:
        """Return the file that the process of a restorer writes at its end: number of parameters, GFLOP or error."""
        return self.progress / f'{label}.summary.json'


def read_log(path: Path, made_from: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the records of a log; none if it does not exist or has other inputs than ``made_from``.

    Incomplete lines, which a killed process may leave, are skipped.
    """
    if not path.is_file():
        return []
    records = []
    for line in path.read_text(encoding='utf-8').splitlines():
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return records[1:] if records and records[0] == json.loads(json.dumps(made_from)) else []


@contextmanager
def open_log(path: Path, made_from: dict[str, Any], records: list[dict[str, Any]]) -> Iterator[Any]:
    """Rewrite a log with the given records; yield a function that appends a record and flushes it."""
    write_text(path, ''.join(json.dumps(line) + '\n' for line in (made_from, *records)))
    with path.open('a', encoding='utf-8', buffering=1) as file:
        yield lambda record: file.write(json.dumps(record) + '\n')


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file atomically."""
    write_text(path, json.dumps(content, indent=1) + '\n')


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8 atomically."""
    write_file(path, text.encode())


def read_json(path: Path) -> Any:
    """Read a JSON file; return None if it is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding='utf-8'))
    except (FileNotFoundError, json.JSONDecodeError):
        return None


@contextmanager
def open_folder(root: Path, resume: bool) -> Iterator[Folder]:
    """Create the output folder and lock it.

    With ``resume``, an earlier comparison is kept; otherwise its folder is renamed, as the host does. A new folder
    without a result is removed at the end, and an earlier comparison gets its name back.

    Raises:
        FileExistsError: the folder exists and is not a comparison, or another process uses it.
    """
    folder = Folder(root)
    is_comparison = folder.progress.is_dir()
    if not is_comparison and (root.is_file() or (root.is_dir() and any(root.iterdir()))):
        raise FileExistsError(f'{root} exists and is not a comparison: choose another folder with -o')
    lock = folder.progress / 'lock'
    try:
        with ExitStack() as stack:
            if is_comparison and not resume:
                take(lock).close()
                stack.enter_context(_set_aside(root))
            stack.enter_context(made_folder(folder.progress))
            stack.enter_context(take(lock))
            try:
                yield folder
            finally:
                if list(root.rglob('*')) == [folder.progress, lock]:  # there is no result
                    with suppress(OSError):  # Windows does not delete open files
                        lock.unlink()
    except InUseError as owner:
        raise FileExistsError(f'{root} is in use by {owner}: wait for it, or choose another folder with -o') from owner


@contextmanager
def _set_aside(root: Path) -> Iterator[None]:
    """Rename a folder, as the host does; rename it back if no other folder has its name after the block."""
    archive = root.with_name(f'{root.name}_archived_{time.strftime("%Y%m%d_%H%M%S")}')
    print(f'{root} exists; it is renamed to {archive}.', flush=True)
    root.rename(archive)
    try:
        yield
    finally:
        if not root.exists():
            archive.rename(root)
            print(f'There is no result: {archive} is renamed back to {root}.', file=sys.stderr)


def remove_images(folder: Folder, test_set: str, which: str) -> None:
    """Remove images that were restored from other inputs."""
    shutil.rmtree(folder.images(test_set, which), ignore_errors=True)
