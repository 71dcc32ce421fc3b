"""Databases in BasicSR's format: `data.mdb`, `lock.mdb` and `meta_info.txt`.

`meta_info.txt` has a line `key.png (h,w,c) level` for each picture, in order; the value under the key is the encoded
picture. The level is that of the PNG encoder; `0` stands for bytes copied as they were. BasicSR wants the `.png` in the
line whatever the bytes are, and decodes by content. `checksums.txt`, which BasicSR does not look at, holds `key crc32`
for `verify_lmdb.py`: a flipped byte inside a JPEG decodes without complaint.
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import NamedTuple

import lmdb
import numpy as np

from hifacegan_plugin.images.writing import encode_png

META_INFO, CHECKSUMS = 'meta_info.txt', 'checksums.txt'
COPIED = 0
INITIAL_MAP_SIZE = 1 << 30


class Entry(NamedTuple):
    """One encoded picture on its way into a database."""

    key: str
    value: bytes
    shape: tuple[int, int, int]
    level: int

    def describe(self) -> Stored:
        """What the records keep of it."""
        return Stored(self.key, self.shape, self.level, zlib.crc32(self.value))


def png_entry(key: str, picture: np.ndarray, level: int) -> Entry:
    """Encode a picture, `(H, W)` or `(H, W, C)`, as PNG into an entry."""
    height, width = picture.shape[:2]
    return Entry(key, encode_png(picture, level), (height, width, picture.size // (height * width)), level)


class Stored(NamedTuple):
    """What is known of a stored picture without its bytes."""

    key: str
    shape: tuple[int, int, int]
    level: int
    crc32: int


class DamagedDatabaseError(Exception):
    """A database that is not what its records say; the message names it."""


class LmdbWriter:
    """Writes encoded pictures into the database in `folder`, which is made where it is missing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self._env = lmdb.open(str(folder), map_size=INITIAL_MAP_SIZE)

    def write(self, entries: Collection[Entry]) -> None:
        """Write entries in one transaction, safely on disk on return.

        Raises:
            lmdb.Error: The disk is full or fails; nothing of the transaction is stored.
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
        """Take out what has none of these keys.

        Raises:
            DamagedDatabaseError: One of the keys is not there.
        """
        wanted = {key.encode('ascii') for key in keys}
        with self._env.begin(write=True) as transaction:
            found = set(transaction.cursor().iternext(values=False))
            for key in found - wanted:
                transaction.delete(key)
        if wanted - found:
            raise DamagedDatabaseError(f'{self.folder} lacks pictures that it should hold')

    def finish(self, stored: Iterable[Stored]) -> None:
        """Write `meta_info.txt` and `checksums.txt`, safely on disk on return."""
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


def open_read_only(folder: Path) -> lmdb.Environment:
    """Open a database as BasicSR does."""
    return lmdb.open(str(folder), create=False, readonly=True, lock=False, readahead=False)


def check_size(folder: Path) -> None:
    """Check that `data.mdb` is as long as it says: reading a page beyond its end kills the process.

    Raises:
        DamagedDatabaseError: It is missing, no database, or truncated.
    """
    path = folder / 'data.mdb'
    try:
        with open_read_only(folder) as env:
            needed = (env.info()['last_pgno'] + 1) * env.stat()['psize']
    except lmdb.Error as error:
        raise DamagedDatabaseError(f'{path} is no database: {error}') from error
    if path.stat().st_size < needed:
        raise DamagedDatabaseError(f'{path} is truncated: {path.stat().st_size:,} of {needed:,} bytes')


def read_value(folder: Path, key: str) -> bytes | None:
    """Read one value; None where there is none."""
    with open_read_only(folder) as env, env.begin() as transaction:
        return transaction.get(key.encode())


def read_meta_info(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Read the shape, `(H, W, C)`, of every key from a database's `meta_info.txt`.

    Raises:
        DamagedDatabaseError: The file is missing, or a line is not of the format or repeats a key.
    """
    try:
        lines = (folder / META_INFO).read_text(encoding='ascii').splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DamagedDatabaseError(f'{folder / META_INFO} cannot be read: {error}') from error
    shapes = {}
    for number, line in enumerate(lines, start=1):
        match = re.fullmatch(r'([^.]+)\.png \((\d+),(\d+),(\d+)\) -?\d+', line)
        if match is None:
            raise DamagedDatabaseError(f'{folder / META_INFO}, line {number}: no "key.png (h,w,c) level": {line!r}')
        key, *shape = match.groups()
        if key in shapes:
            raise DamagedDatabaseError(f'{folder / META_INFO}, line {number}: {key} is there twice')
        shapes[key] = tuple(map(int, shape))
    return shapes


def read_checksums(folder: Path) -> dict[str, int]:
    """Read the CRC-32 of every value; empty where the database has no `checksums.txt` (BasicSR's own have none).

    Raises:
        DamagedDatabaseError: A line is not of the format.
    """
    path = folder / CHECKSUMS
    checksums = {}
    for number, line in enumerate(path.read_text().splitlines() if path.exists() else (), start=1):
        match = re.fullmatch(r'(\S+) ([0-9a-f]{8})', line)
        if match is None:
            raise DamagedDatabaseError(f'{path}, line {number}: no "key crc32": {line!r}')
        checksums[match[1]] = int(match[2], 16)
    return checksums
