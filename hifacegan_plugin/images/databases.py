"""LMDB databases, which a process may open only once each: one handle for all the data sets that read them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import lmdb

# A handle must not be used across a fork: a forked process starts without any (dropping an inherited one closes it).
_handles: dict[Path, lmdb.Environment] = {}
if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_handles.clear)


def open_database(path: str | Path, **options: Any) -> lmdb.Environment:
    """Return this process's handle of the database ``NAME.lmdb``; use it at once, and do not close it.

    Args:
        path: of the folder.
        **options: as ``lmdb.open`` takes them, for the first to open it; read-only and without a lock by default.

    Raises:
        lmdb.Error: it does not exist or cannot be opened.
    """
    place = Path(path).resolve()
    if place not in _handles:
        defaults = {'create': False, 'readonly': True, 'lock': False, 'readahead': False}
        _handles[place] = lmdb.open(str(place), **{**defaults, **options})
    return _handles[place]


def read_value(path: str | Path, key: str) -> bytes | None:
    """Read the value of a key; None if there is none.

    Raises:
        lmdb.Error: the database does not exist or cannot be opened.
    """
    with open_database(path).begin() as transaction:
        return transaction.get(key.encode())


class Database:
    """Stands for an ``lmdb.Environment`` in the host's reader; holds no handle, so that it outlives a fork.

    Args:
        path: of the folder.
        **options: see :func:`open_database`.
    """

    def __init__(self, path: str, **options: Any) -> None:
        self.path, self.options = path, options

    def begin(self, **options: Any) -> lmdb.Transaction:
        """Begin a transaction, as ``lmdb.Environment.begin``."""
        return open_database(self.path, **self.options).begin(**options)
