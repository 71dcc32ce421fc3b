"""Locks on files, which one process holds until it closes the file or ends, however it ends."""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import IO, Any

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

BEYOND_ANY_CONTENT = 2**30  # byte of a file: Windows keeps other processes from reading what is locked


class InUseError(Exception):
    """Another process holds a lock; the message tells which, as in "process 17 on host"."""


@contextmanager
def hold(path: Path) -> Iterator[None]:
    """Hold the lock file ``path``, which is there while the block runs, and name in it who holds it.

    Raises:
        InUseError: another process holds it.
        OSError: it cannot be written.
    """
    file = take(path)
    try:
        yield
    finally:
        if fcntl is None:
            file.close()  # Windows removes no file that is open, here or in a process that took it meanwhile
        with suppress(OSError):
            path.unlink()
        file.close()


def take(path: Path) -> IO[str]:
    """Take the lock file ``path`` until the returned file is closed, and name in it who has it.

    Where the file system supports no locks, a message says so, and nothing is locked.

    Raises:
        InUseError: another process has it.
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        file = path.open('a+')
        try:
            locked = lock_file(file)
        except OSError as error:
            print(
                f'{path} cannot be locked ({error.strerror}): do not start the same twice at a time.', file=sys.stderr
            )
            return file
        if not locked:
            with file:
                file.seek(0)
                raise InUseError(file.read().strip() or 'another process')
        if path.exists() and os.path.samestat(path.stat(), os.fstat(file.fileno())):
            file.truncate(0)
            file.write(f'process {os.getpid()} on {socket.gethostname()}\n')
            file.flush()
            return file
        file.close()  # its last holder removed it before it was locked here


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
