"""A plain folder of PNG files as a store of a build, see ``resumable_build.Store``."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from pathlib import Path

from hifacegan_plugin.images.databases import DamagedDatabaseError
from hifacegan_plugin.prepare.basicsr_lmdb import Entry, Stored


class PlainFolder:
    """Writes each entry to ``folder/KEY.png``, a ``/`` in the key as ``%2F``: BasicSR looks into no sub-folders."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)

    def write(self, entries: Collection[Entry]) -> None:
        """Write entries, safely on disk on return."""
        for entry in entries:
            self._path(entry.key).write_bytes(entry.value)
        os.sync()

    def keep_only(self, keys: Iterable[str]) -> None:
        """Remove what has none of these keys.

        Raises:
            DamagedDatabaseError: one of the keys is not there.
        """
        wanted, found = {self._path(key) for key in keys}, set(self.folder.iterdir())
        for path in found - wanted:
            path.unlink()
        if wanted - found:
            raise DamagedDatabaseError(f'{self.folder} lacks images that it should hold')

    def finish(self, stored: Iterable[Stored]) -> None:
        """Nothing is left to do: BasicSR lists the folder, and would take any other file for an image."""

    def close(self) -> None:
        """Nothing is open."""

    def _path(self, key: str) -> Path:
        return self.folder / f'{key.replace("/", "%2F")}.png'
