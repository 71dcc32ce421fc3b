"""File locks. A process holds a lock until it closes the file or ends, even if it is killed."""

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

LOCKED_BYTE = 2**30  # beyond the content, because on Windows other processes cannot read locked bytes


class InUseError(Exception):
    """Another process holds the lock; the message names it, for example "process 17 on host"."""


@contextmanager
def hold(path: Path) -> Iterator[None]:
    """Hold the lock file ``path`` while the block runs. The file names this process and is removed afterwards.

    Raises:
        InUseError: another process holds the lock.
        OSError: the file cannot be written.
    """
    file = take(path)
    try:
        yield
    finally:
        if fcntl is None:
            file.close()  # Windows cannot delete a file that this or another process has open
        with suppress(OSError):
            path.unlink()
        file.close()


def take(path: Path) -> IO[str]:
    """Lock ``path`` until the returned file is closed, and write the name of this process into it.

    On a file system without locks, print a warning and lock nothing.

    Raises:
        InUseError: another process holds the lock.
        OSError: the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        file = path.open('a+')
        try:
            locked = lock_file(file)
        except OSError as error:
            print(
                f'{path} cannot be locked ({error.strerror}): make sure that this command runs only once at a time.',
                file=sys.stderr,
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
        file.close()  # the previous holder deleted the file before it was locked here: open it again


def lock_file(file: IO[Any]) -> bool:
    """Lock an open file for this process. Child processes do not inherit the lock. May move the file position.

    Returns:
        Whether the file was locked; False means that another process holds the lock.

    Raises:
        OSError: the file system does not support locks.
    """
    lock = _lock_by_windows if fcntl is None else _lock_by_posix
    try:
        lock(file)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):  # held by another process, on POSIX or Windows
            return False
        raise
    return True


def _lock_by_posix(file: IO[Any]) -> None:
    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _lock_by_windows(file: IO[Any]) -> None:
    msvcrt: Any = import_module('msvcrt')
    os.lseek(file.fileno(), LOCKED_BYTE, os.SEEK_SET)
    msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
