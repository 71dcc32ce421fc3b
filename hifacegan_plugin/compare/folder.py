"""The output folder: where pictures and progress lie, so that what is done once is not done again.

``pictures/<set>/{degraded,truth,<restorer>}/<name>.png`` and, in ``progress/``, logs with a line for each picture. The
first line of a log says what the rest was made from; when that changes, the log is begun anew.
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

from hifacegan_plugin.system.files import whole_file


class Folder:
    """Paths in the output folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.progress = root / 'progress'

    def pictures(self, test_set: str, which: str) -> Path:
        """Folder of the degraded, true or restored pictures of a test set."""
        return self.root / 'pictures' / test_set / which

    def picture(self, test_set: str, which: str, name: str) -> Path:
        """One of these pictures."""
        return self.pictures(test_set, which) / f'{name}.png'

    def log(self, test_set: str, label: str, step: str) -> Path:
        """Log of a step, ``restored`` or ``measured``, of a restorer on a test set."""
        return self.progress / test_set / f'{label}.{step}.jsonl'

    def test_set(self, test_set: str) -> Path:
        """Names and problems of a test set whose pictures are written out."""
        return self.progress / f'{test_set}.test_set.json'

    def summary(self, label: str) -> Path:
        """What the process of a restorer found out besides the pictures."""
        return self.progress / f'{label}.summary.json'


def read_log(path: Path, made_from: dict[str, Any]) -> list[dict[str, Any]]:
    """Give the records of a log; none if there is no log, or it was made from something else.

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
    """Write a log anew with the records to keep, and give a function that appends a record, at once on the disk."""
    write_text(path, ''.join(json.dumps(line) + '\n' for line in (made_from, *records)))
    with path.open('a', encoding='utf-8', buffering=1) as file:
        yield lambda record: file.write(json.dumps(record) + '\n')


def restored(folder: Folder, test_set: str, label: str, made_from: dict[str, Any]) -> list[dict[str, Any]]:
    """Give the records of the pictures that a restorer is done with."""
    records = read_log(folder.log(test_set, label, 'restored'), made_from)
    return [r for r in records if 'error' not in r and folder.picture(test_set, label, r['name']).exists()]


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file, whole or not at all."""
    write_text(path, json.dumps(content, indent=1) + '\n')


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as part:
        part.write_text(text, encoding='utf-8')


def read_json(path: Path) -> Any:
    """Read a JSON file; None if there is none."""
    return json.loads(path.read_text(encoding='utf-8')) if path.is_file() else None


def write_rgb(path: Path, image: np.ndarray) -> None:
    """Write a picture, uint8 RGB ``(H, W, 3)``, as PNG, whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    encoded = cv2.imencode('.png', cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1]
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as part:
        part.write_bytes(encoded.tobytes())


def read_rgb(path: Path) -> np.ndarray:
    """Read a picture that :func:`write_rgb` wrote; uint8 RGB ``(H, W, 3)``.

    Raises:
        OSError: it cannot be read, or holds no picture.
    """
    try:
        image = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:  # an empty file
        image = None
    if image is None:
        raise OSError(f'{path} holds no picture; remove it and run with --resume')
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def start_folder(root: Path, resume: bool) -> Folder:
    """Make the output folder; an earlier comparison is kept with ``resume``, and otherwise renamed as the host does.

    Raises:
        FileExistsError: what has this name is no comparison.
    """
    folder = Folder(root)
    is_comparison = folder.progress.is_dir()
    if not is_comparison and (root.is_file() or (root.is_dir() and any(root.iterdir()))):
        raise FileExistsError(f'{root} is there already and holds no comparison: name another folder with -o')
    if is_comparison and not resume:
        from basicsr.utils import mkdir_and_rename

        mkdir_and_rename(str(root))
    folder.progress.mkdir(parents=True, exist_ok=True)
    return folder


def remove_pictures(folder: Folder, test_set: str, which: str) -> None:
    """Remove what was made from options that have changed since."""
    shutil.rmtree(folder.pictures(test_set, which), ignore_errors=True)
