"""Locks on files, which one process holds until it closes the file or ends, however it ends."""

from __future__ import annotations

import errno
import os
from importlib import import_module
from typing import IO, Any

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

BEYOND_ANY_CONTENT = 2**30  # byte of a file: Windows keeps other processes from reading what is locked


def lock_file(file: IO[Any]) -> bool:
    """Lock an open file for this process; child processes do not inherit the lock. The position in it may change.

    Returns:
        False: another process holds the lock.

    Raises:
        OSError: the file system supports no locks.
    """
    lock = _lock_by_windows if fcntl is None else _lock_by_posix
    try:
        lock(file)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):  # held, as POSIX and Windows may say it
            return False
        raise
    return True


def _lock_by_posix(file: IO[Any]) -> None:
    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _lock_by_windows(file: IO[Any]) -> None:
    msvcrt: Any = import_module('msvcrt')
    os.lseek(file.fileno(), BEYOND_ANY_CONTENT, os.SEEK_SET)
    msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
