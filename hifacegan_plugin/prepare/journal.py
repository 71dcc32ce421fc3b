"""The journal of a build, `build.jsonl`: what the build is of, and what became of each source so far."""

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
    """The lines of an open journal: ``header`` says what the build is of, and each of ``records`` of one source."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        file.seek(0)
        text = file.read()
        whole = text[: text.rfind(b'\n') + 1]  # without a line that a kill left half written
        file.truncate(len(whole))
        self._lines: list[Record] = [json.loads(line) for line in whole.splitlines()]

    @property
    def header(self) -> Record | None:
        """The first line; None: the build has not begun."""
        return self._lines[0] if self._lines else None

    @property
    def records(self) -> list[Record]:
        """All other lines."""
        return self._lines[1:]

    def append(self, lines: Iterable[Record]) -> None:
        """Add lines, safely on disk on return."""
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
    """Open the journal in ``partial`` and hold it: two builders of one target would write into one another.

    The lock ends with the builder, however that ends; workers do not inherit it.

    Raises:
        BuildError: another process holds it, or has just finished.
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
        raise BuildError(f'{target} is there already and was not made by this command: --overwrite builds it again')
    header, *records = map(json.loads, path.read_text().splitlines())
    return header, records
