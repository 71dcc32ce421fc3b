"""The output folder: images and progress, so that what is done once is not done again.

``images/<set>/{degraded,truth,<restorer>}/<name>.png`` and, in ``progress/``, logs with a line for each image. The
first line of a log says what the rest was made from; when that changes, the log is started again.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from hifacegan_plugin.system.files import write_file
from hifacegan_plugin.system.locks import InUseError, take


class Folder:
    """Paths in the output folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.progress = root / 'progress'

    def images(self, test_set: str, which: str) -> Path:
        """Return the folder of the degraded, true or restored images of a test set."""
        return self.root / 'images' / test_set / which

    def image(self, test_set: str, which: str, name: str) -> Path:
        """Return the file of one of these images."""
        return self.images(test_set, which) / f'{name}.png'

    def read_image(self, test_set: str, which: str, name: str) -> np.ndarray:
        """Read one of these images; uint8 RGB ``(H, W, 3)``.

        Raises:
            OSError: it cannot be read, or holds no image.
        """
        path = self.image(test_set, which, name)
        try:
            image = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
        except cv2.error:  # an empty file
            image = None
        if image is None:
            raise OSError(f'{path} holds no image; remove it and run with --resume')
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)

    def log(self, test_set: str, label: str, step: str) -> Path:
        """Return the log of a step, ``restored`` or ``measured``, of a restorer on a test set."""
        return self.progress / test_set / f'{label}.{step}.jsonl'

    def test_set(self, test_set: str) -> Path:
        """Return the file of names and problems of a test set whose images are written out."""
        return self.progress / f'{test_set}.test_set.json'

    def summary(self, label: str) -> Path:
        """Return the file of what the process of a restorer found out besides the images."""
        return self.progress / f'{label}.summary.json'


def read_log(path: Path, made_from: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the records of a log; none if there is no log, or it was made from something else.

    A last line that a kill cut short is left out.
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
    """Write a log that holds the records to keep; yield a function that appends a record, at once on the disk."""
    write_text(path, ''.join(json.dumps(line) + '\n' for line in (made_from, *records)))
    with path.open('a', encoding='utf-8', buffering=1) as file:
        yield lambda record: file.write(json.dumps(record) + '\n')


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file, whole or not at all."""
    write_text(path, json.dumps(content, indent=1) + '\n')


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8, whole or not at all."""
    write_file(path, text.encode())


def read_json(path: Path) -> Any:
    """Read a JSON file; return None if there is none, or it is damaged."""
    try:
        return json.loads(path.read_text(encoding='utf-8'))
    except (FileNotFoundError, json.JSONDecodeError):
        return None


@contextmanager
def open_folder(root: Path, resume: bool) -> Iterator[Folder]:
    """Make the output folder, and hold it: two comparisons would write into one another.

    An earlier comparison is kept with ``resume``, otherwise renamed as the host does.

    Raises:
        FileExistsError: a file or folder of this name is no comparison, or another process works in it.
    """
    folder = Folder(root)
    is_comparison = folder.progress.is_dir()
    if not is_comparison and (root.is_file() or (root.is_dir() and any(root.iterdir()))):
        raise FileExistsError(f'{root} exists already and holds no comparison: name another folder with -o')
    lock = folder.progress / 'lock'
    try:
        if is_comparison and not resume:
            from basicsr.utils import mkdir_and_rename

            take(lock).close()
            mkdir_and_rename(str(root))
        with take(lock):
            yield folder
    except InUseError as owner:
        raise FileExistsError(f'{root}: {owner} compares there: wait for it, or name another folder with -o') from owner


def remove_images(folder: Folder, test_set: str, which: str) -> None:
    """Remove what was made from options that have changed since."""
    shutil.rmtree(folder.images(test_set, which), ignore_errors=True)
