"""A file with a JSON object on each line as a store of a build, see ``resumable_build.Store``."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable
from pathlib import Path

from hifacegan_plugin.images.databases import DamagedDatabaseError
from hifacegan_plugin.prepare.basicsr_lmdb import Entry, Stored


class JsonLines:
    """Writes the value of each entry, an encoded object with the entry's key under ``key``, as a line of ``path``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open('a+b')

    def write(self, entries: Collection[Entry]) -> None:
        """Append entries, safely on disk on return."""
        self._file.write(b''.join(entry.value + b'\n' for entry in entries))
        self._file.flush()
        os.fsync(self._file.fileno())

    def keep_only(self, keys: Iterable[str]) -> None:
        """Remove what has none of these keys, and a line that was not written to its end.

        Raises:
            DamagedDatabaseError: one of the keys is not there.
        """
        self._file.seek(0)
        lines = {json.loads(line)['key']: line for line in self._file if line.endswith(b'\n')}
        wanted = list(keys)
        if not lines.keys() >= set(wanted):
            raise DamagedDatabaseError(f'{self.path} lacks lines that it should hold')
        self._file.truncate(0)
        self._file.write(b''.join(lines[key] for key in wanted))
        self._file.flush()

    def finish(self, stored: Iterable[Stored]) -> None:
        """Nothing is left to do: every line is written."""

    def close(self) -> None:
        """Close the file."""
        self._file.close()
