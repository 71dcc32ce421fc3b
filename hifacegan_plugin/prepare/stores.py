"""Stores that a build writes images to: a database in BasicSR's format, or a plain folder.

:mod:`hifacegan_plugin.images.databases` reads the databases and documents their files.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import NamedTuple

import lmdb
import numpy as np

from hifacegan_plugin.images.databases import CHECKSUMS, META_INFO, DamagedDatabaseError
from hifacegan_plugin.images.writing import encode_png

COPIED = 0  # compression level recorded for files that were copied
INITIAL_MAP_SIZE = 1 << 30  # of a database, in bytes


class Entry(NamedTuple):
    """An encoded image to store.

    Attributes:
        key: its key.
        value: encoded image.
        shape: ``(H, W, C)``.
        level: compression level of the PNG encoder, or ``COPIED``.
    """

    key: str
    value: bytes
    shape: tuple[int, int, int]
    level: int

    def describe(self) -> Stored:
        """Return the description for the journal."""
        return Stored(self.key, self.shape, self.level, zlib.crc32(self.value))


def png_entry(key: str, image: np.ndarray, level: int) -> Entry:
    """Return the entry of an image ``(H, W)`` or ``(H, W, C)``, encoded as PNG."""
    height, width = image.shape[:2]
    return Entry(key, encode_png(image, level), (height, width, image.size // (height * width)), level)


class Stored(NamedTuple):
    """The description of a stored image."""

    key: str
    shape: tuple[int, int, int]
    level: int
    crc32: int


class Store:
    """Base class of stores for encoded images."""

    def write(self, entries: Collection[Entry]) -> None:
        """Write entries and flush them to disk."""
        raise NotImplementedError

    def keep_only(self, keys: Iterable[str]) -> None:
        """Remove all entries except those with these keys.

        Raises:
            DamagedDatabaseError: a key is missing.
        """
        raise NotImplementedError

    def finish(self, stored: Iterable[Stored]) -> None:
        """Write descriptions of all images, in order, if the store has any."""

    def close(self) -> None:
        """Close open files."""


class LmdbWriter(Store):
    """Writes encoded images to the database in ``folder``, which is created if necessary."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self._env = lmdb.open(str(folder), map_size=INITIAL_MAP_SIZE)

    def write(self, entries: Collection[Entry]) -> None:
        """Write entries in one transaction and flush them to disk.

        Raises:
            lmdb.Error: the disk is full or fails; none of the entries are stored.
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
        """Write ``meta_info.txt`` and ``checksums.txt`` and flush them to disk."""
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
    """Writes each entry to ``folder/KEY.png``; a ``/`` in the key becomes ``%2F``.

    BasicSR does not search subfolders, and treats every file in the folder as an image.
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
