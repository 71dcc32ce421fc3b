"""Where a build puts encoded images: a database in BasicSR's format, a plain folder, or a file of JSON lines.

:mod:`hifacegan_plugin.images.databases` reads the databases and says what is in their files.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import NamedTuple

import lmdb
import numpy as np

from hifacegan_plugin.images.databases import CHECKSUMS, META_INFO, DamagedDatabaseError
from hifacegan_plugin.images.writing import encode_png

COPIED = 0  # level of the PNG encoder that stands for bytes copied as they were
INITIAL_MAP_SIZE = 1 << 30  # bytes, of a database


class Entry(NamedTuple):
    """One encoded image on its way into a store; ``shape`` is ``(H, W, C)``."""

    key: str
    value: bytes
    shape: tuple[int, int, int]
    level: int

    def describe(self) -> Stored:
        """Return what the records keep of it."""
        return Stored(self.key, self.shape, self.level, zlib.crc32(self.value))


def png_entry(key: str, image: np.ndarray, level: int) -> Entry:
    """Encode an image, ``(H, W)`` or ``(H, W, C)``, as PNG into an entry."""
    height, width = image.shape[:2]
    return Entry(key, encode_png(image, level), (height, width, image.size // (height * width)), level)


class Stored(NamedTuple):
    """What is known of a stored image without its bytes."""

    key: str
    shape: tuple[int, int, int]
    level: int
    crc32: int


class Store:
    """Where encoded images go."""

    def write(self, entries: Collection[Entry]) -> None:
        """Write entries, safely on disk on return."""
        raise NotImplementedError

    def keep_only(self, keys: Iterable[str]) -> None:
        """Remove what has none of these keys.

        Raises:
            DamagedDatabaseError: one of the keys is not there.
        """
        raise NotImplementedError

    def finish(self, stored: Iterable[Stored]) -> None:
        """Write what the store says of all its images, in order; by default nothing."""

    def close(self) -> None:
        """Close what is open; by default nothing is."""


class LmdbWriter(Store):
    """Writes encoded images into the database in ``folder``, which is made where it is missing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self._env = lmdb.open(str(folder), map_size=INITIAL_MAP_SIZE)

    def write(self, entries: Collection[Entry]) -> None:
        """Write entries in one transaction, safely on disk on return.

        Raises:
            lmdb.Error: the disk is full or fails; nothing of the transaction is stored.
        """
        while True:
            try:
                with self._env.begin(write=True) as transaction:
                    for entry in entries:
                        transaction.put(entry.key.encode('ascii'), entry.value)
                return
            except lmdb.MapFullError:
                self._env.set_mapsize(2 * self._env.info()['map_size'])

    def keep_only(self, keys: Iterable[str]) -> None:
        """See :class:`Store`."""
        wanted = {key.encode('ascii') for key in keys}
        with self._env.begin(write=True) as transaction:
            found = set(transaction.cursor().iternext(values=False))
            for key in found - wanted:
                transaction.delete(key)
        if wanted - found:
            raise DamagedDatabaseError(f'{self.folder} lacks images that it should hold')

    def finish(self, stored: Iterable[Stored]) -> None:
        """Write ``meta_info.txt`` and ``checksums.txt``, safely on disk on return."""
        with (self.folder / META_INFO).open('w') as meta_info, (self.folder / CHECKSUMS).open('w') as checksums:
            for entry in stored:
                height, width, channels = entry.shape
                meta_info.write(f'{entry.key}.png ({height},{width},{channels}) {entry.level}\n')
                checksums.write(f'{entry.key} {entry.crc32:08x}\n')
            for file in (meta_info, checksums):
                file.flush()
                os.fsync(file.fileno())

    def close(self) -> None:
        """See :class:`Store`."""
        self._env.close()


class PlainFolder(Store):
    """Writes each entry to ``folder/KEY.png``, a ``/`` in the key as ``%2F``.

    BasicSR lists the folder, looks into none below it, and would take any other file for an image.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)

    def write(self, entries: Collection[Entry]) -> None:
        """See :class:`Store`."""
        for entry in entries:
            self._path(entry.key).write_bytes(entry.value)
        os.sync()

    def keep_only(self, keys: Iterable[str]) -> None:
        """See :class:`Store`."""
        wanted, found = {self._path(key) for key in keys}, set(self.folder.iterdir())
        for path in found - wanted:
            path.unlink()
        if wanted - found:
            raise DamagedDatabaseError(f'{self.folder} lacks images that it should hold')

    def _path(self, key: str) -> Path:
        return self.folder / f'{key.replace("/", "%2F")}.png'


class JsonLines(Store):
    """Writes the value of each entry, an encoded object with the entry's key under ``key``, as a line of ``path``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open('a+b')

    def write(self, entries: Collection[Entry]) -> None:
        """See :class:`Store`."""
        self._file.write(b''.join(entry.value + b'\n' for entry in entries))
        self._file.flush()
        os.fsync(self._file.fileno())

    def keep_only(self, keys: Iterable[str]) -> None:
        """See :class:`Store`; a line that was not written to its end is removed, too."""
        self._file.seek(0)
        lines = {json.loads(line)['key']: line for line in self._file if line.endswith(b'\n')}
        wanted = list(keys)
        if not lines.keys() >= set(wanted):
            raise DamagedDatabaseError(f'{self.path} lacks lines that it should hold')
        self._file.truncate(0)
        self._file.write(b''.join(lines[key] for key in wanted))
        self._file.flush()

    def close(self) -> None:
        """See :class:`Store`."""
        self._file.close()
