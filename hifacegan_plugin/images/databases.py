"""Read databases in BasicSR's format: ``data.mdb``, ``lock.mdb`` and ``meta_info.txt``.

``meta_info.txt`` has a line ``key.png (h,w,c) level`` for each image, in order; the value of the key is the encoded
image. The level is the PNG compression level; 0 means that the bytes were copied. BasicSR requires ``.png`` in the line
for any format, and detects the format from the bytes. ``checksums.txt``, which BasicSR does not read, holds ``key
crc32`` for ``hifacegan verify-lmdb``, because a JPEG with a flipped byte decodes without an error.

A process may open a database only once, so all readers share one handle.
"""

from __future__ import annotations

import os
import re
from functools import partial
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import lmdb

META_INFO, CHECKSUMS = 'meta_info.txt', 'checksums.txt'


class DamagedDatabaseError(Exception):
    """A database does not match its own records; the message names it."""


class Database:
    """A database ``NAME.lmdb``, opened by the first read and closed when this object is no longer referenced.

    Make it with :func:`open_database`, so that all its readers share it. It can be pickled. A handle must not be used
    across a fork, so a forked process opens the database again.

    Args:
        path: the folder.
        **options: of ``lmdb.open``; read-only and without a lock by default.
    """

    def __init__(self, path: Path, **options: Any) -> None:
        self.path = path
        self._options = options
        self._environment: lmdb.Environment | None = None

    @property
    def environment(self) -> lmdb.Environment:
        """The handle of this process; use it at once, and do not close it.

        Raises:
            lmdb.Error: the database does not exist or cannot be opened.
        """
        if self._environment is None:
            defaults = {'create': False, 'readonly': True, 'lock': False, 'readahead': False}
            self._environment = lmdb.open(str(self.path), **{**defaults, **self._options})
        return self._environment

    def begin(self, **options: Any) -> lmdb.Transaction:
        """Begin a transaction, as ``lmdb.Environment.begin``."""
        return self.environment.begin(**options)

    def read(self, key: str) -> bytes | None:
        """Read the value of a key; None if there is none.

        Raises:
            lmdb.Error: the database does not exist or cannot be opened.
        """
        with self.begin() as transaction:
            value = transaction.get(key.encode())
            return None if value is None else bytes(value)

    def forget_handle(self) -> None:
        """Drop a handle that a fork has copied."""
        self._environment = None

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(open_database, **self._options), (self.path,)


_databases: WeakValueDictionary[Path, Database] = WeakValueDictionary()


def open_database(path: str | Path, **options: Any) -> Database:
    """Return the shared database of this process at ``path``; the options of the first call apply.

    Args:
        path: the folder.
        **options: see :class:`Database`.
    """
    place = Path(path).resolve()
    database = _databases.get(place)
    if database is None:
        database = _databases[place] = Database(place, **options)
    return database


def _forget_handles() -> None:
    for database in list(_databases.values()):
        database.forget_handle()


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_forget_handles)


def check_size(folder: Path) -> None:
    """Check that ``data.mdb`` is as long as its header says: reading a page beyond its end kills the process.

    Raises:
        DamagedDatabaseError: the file is missing, empty, not a database, or truncated.
    """
    path = folder / 'data.mdb'
    if path.is_file() and not path.stat().st_size:  # which LMDB calls a bad file descriptor
        raise DamagedDatabaseError(f'{path} is empty (0 bytes)')
    try:
        environment = open_database(folder).environment
        needed = (environment.info()['last_pgno'] + 1) * environment.stat()['psize']
    except lmdb.Error as error:
        raise DamagedDatabaseError(f'{path} is not a database: {error}') from error
    if path.stat().st_size < needed:
        raise DamagedDatabaseError(f'{path} is truncated: {path.stat().st_size:,} of {needed:,} bytes')


def read_meta_info(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Read the shape, ``(H, W, C)``, of every key from a database's ``meta_info.txt``.

    Raises:
        DamagedDatabaseError: the file is missing, or a line has the wrong format or repeats a key.
    """
    shapes: dict[str, tuple[int, int, int]] = {}
    for number, line in enumerate(_read_lines(folder / META_INFO), start=1):
        match = re.fullmatch(r'([^.]+)\.png \((\d+),(\d+),(\d+)\) -?\d+', line)
        if match is None:
            raise DamagedDatabaseError(f'{folder / META_INFO}, line {number}: no "key.png (h,w,c) level": {line!r}')
        key = match[1]
        if key in shapes:
            raise DamagedDatabaseError(f'{folder / META_INFO}, line {number}: {key} occurs twice')
        shapes[key] = int(match[2]), int(match[3]), int(match[4])
    return shapes


def read_checksums(folder: Path) -> dict[str, int]:
    """Read the CRC-32 of every value; empty without a ``checksums.txt``, which BasicSR's own databases lack.

    Raises:
        DamagedDatabaseError: the file cannot be read, or a line has the wrong format.
    """
    path = folder / CHECKSUMS
    checksums = {}
    for number, line in enumerate(_read_lines(path) if path.exists() else (), start=1):
        match = re.fullmatch(r'(\S+) ([0-9a-f]{8})', line)
        if match is None:
            raise DamagedDatabaseError(f'{path}, line {number}: no "key crc32": {line!r}')
        checksums[match[1]] = int(match[2], 16)
    return checksums


def _read_lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding='ascii').splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, 'strerror', None) or error
        raise DamagedDatabaseError(f'{path} cannot be read: {reason}') from error
