"""The journal of a build, ``build.jsonl``: its settings, and the outcome for each source so far."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from hifacegan_plugin.prepare.build_error import BuildError
from hifacegan_plugin.system.locks import lock_file

JOURNAL = 'build.jsonl'
Record = dict[str, Any]  # a line of the journal


class Journal:
    """An open journal: ``header`` holds the settings of the build, and ``records`` has an item for each source."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        file.seek(0)
        text = file.read()
        whole = text[: text.rfind(b'\n') + 1]  # drops an incomplete last line of a killed process
        file.truncate(len(whole))
        self._lines: list[Record] = [json.loads(line) for line in whole.splitlines()]

    @property
    def header(self) -> Record | None:
        """The first line; None if the build has not started."""
        return self._lines[0] if self._lines else None

    @property
    def records(self) -> list[Record]:
        """All other lines."""
        return self._lines[1:]

    def append(self, lines: Iterable[Record]) -> None:
        """Add lines and flush them to disk."""
        new = list(lines)
        self._file.write(b''.join(json.dumps(line).encode() + b'\n' for line in new))
        self._file.flush()
        os.fsync(self._file.fileno())
        self._lines += new

    def clear(self) -> None:
        """Remove all lines."""
        self._file.truncate(0)
        self._lines.clear()


@contextmanager
def open_journal(partial: Path, target: Path) -> Iterator[Journal]:
    """Open the journal in ``partial`` and lock it, so that only one process builds the target.

    The lock is released when the process ends, even if it is killed. Workers do not inherit the lock.

    Raises:
        BuildError: another process is building the target, or has just finished.
    """
    partial.mkdir(parents=True, exist_ok=True)
    path = partial / JOURNAL
    with path.open('a+b') as file:
        if not lock_file(file):
            raise BuildError(f'another process is building {target}: wait for it or choose another name')
        if not (path.exists() and os.path.samestat(path.stat(), os.fstat(file.fileno()))):
            raise BuildError(f'another process has just finished {target}')
        yield Journal(file)


def read_finished(target: Path) -> tuple[Record, list[Record]]:
    """Read the header and the records of a finished build.

    Raises:
        BuildError: the target has no journal.
    """
    path = target / JOURNAL
    if not path.exists():
        raise BuildError(f'{target} already exists and was not made by this command: --overwrite replaces it')
    header, *records = map(json.loads, path.read_text().splitlines())
    return header, records
