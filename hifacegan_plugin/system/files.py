"""Atomic file writes, where a file appears under its name complete or not at all; and folders to write into."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import takewhile
from pathlib import Path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder; rename it to ``path`` on success and delete it on an error.

    The folder is created if necessary, and removed again if the block fails. The temporary name begins with a dot, is
    random, so that processes on different machines never share one, and keeps the suffix, from which libraries choose
    the format.

    Raises:
        OSError: the file cannot be written or renamed; the error names ``path``.
    """
    part = path.with_name(f'.{secrets.token_hex(8)}.part{path.suffix}')
    with made_folder(path.parent):
        try:
            yield part
            part.replace(path)
        except BaseException as error:
            with suppress(OSError):  # for example, the folder is read-only; the original error is raised below
                part.unlink(missing_ok=True)
            if isinstance(error, OSError) and str(error.filename) == str(part):
                raise OSError(error.errno, error.strerror, str(path)) from error
            raise


@contextmanager
def made_folder(folder: Path) -> Iterator[None]:
    """Create a folder and its parents if necessary; at the end, remove those created here that are empty.

    Raises:
        OSError: the folder cannot be created.
    """
    missing = list(takewhile(lambda place: not place.exists(), (folder, *folder.parents)))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    finally:
        for place in missing:
            with suppress(OSError):  # it is not empty
                place.rmdir()


def check_folder(option: str, folder: Path) -> None:
    """Check that a folder exists or can be made, and that files can be written into it.

    Raises:
        ValueError: a file or a broken link is in its place, or it is read-only; the message begins with ``option``.
    """
    existing = nearest_existing(folder)
    if not existing.exists():
        raise ValueError(f'{option}: {existing} is a link to nothing: correct it, or remove it.')
    if not existing.is_dir():
        raise ValueError(f'{option}: {existing} is a file, not a folder: name a folder, or move the file away.')
    if not os.access(existing, os.W_OK | os.X_OK):
        raise ValueError(f'{option}: {existing} is read-only: name another folder, or change its permissions.')


def nearest_existing(path: Path) -> Path:
    """Return the path itself if it exists, even as a broken link, else its nearest parent folder that exists."""
    return next(place for place in (path, *path.absolute().parents) if os.path.lexists(place))


def write_file(path: Path, data: bytes) -> None:
    """Write a file atomically; create its folder if necessary.

    Raises:
        OSError: the file cannot be written; the error names ``path``.
    """
    with whole_file(path) as part:
        part.write_bytes(data)
