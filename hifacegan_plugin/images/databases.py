"""LMDB databases, each of which a process may open only once: one handle for everything that reads it."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import lmdb


class Database:
    """A database ``NAME.lmdb``, opened when it is first read and closed when nobody holds this object any longer.

    Make it with :func:`open_database`, so that all its readers share it. It can be pickled. A handle must not be used
    across a fork, so a forked process opens the database anew.

    Args:
        path: of the folder.
        **options: as ``lmdb.open`` takes them; read-only and without a lock by default.
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
            return transaction.get(key.encode())

    def forget_handle(self) -> None:
        """Drop a handle that a fork has copied."""
        self._environment = None

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(open_database, **self._options), (self.path,)


_databases: WeakValueDictionary[Path, Database] = WeakValueDictionary()


def open_database(path: str | Path, **options: Any) -> Database:
    """Return the database of this process at ``path``, which all its readers share; the first one's options stand.

    Args:
        path: of the folder.
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
