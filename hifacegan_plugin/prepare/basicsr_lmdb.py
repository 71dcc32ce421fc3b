"""Writing databases in BasicSR's format: ``data.mdb``, ``lock.mdb`` and ``meta_info.txt``.

:mod:`hifacegan_plugin.images.databases` reads them and says what is in the files.
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

COPIED = 0  # level of the PNG encoder that stands for bytes copied as they were
INITIAL_MAP_SIZE = 1 << 30


class Entry(NamedTuple):
    """One encoded image on its way into a database; ``shape`` is ``(H, W, C)``."""

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


class LmdbWriter:
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
        """Remove what has none of these keys.

        Raises:
            DamagedDatabaseError: one of the keys is not there.
        """
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
        """Close the database."""
        self._env.close()
