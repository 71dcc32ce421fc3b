"""Atomic file writes: a file appears under its name complete or not at all."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder; rename it to ``path`` on success and delete it on an error.

    The folder is created if necessary. The temporary name begins with a dot, is random, so that processes on different
    machines never share one, and keeps the suffix, from which libraries choose the format.

    Raises:
        OSError: the file cannot be written or renamed; the error names ``path``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f'.{secrets.token_hex(8)}.part{path.suffix}')
    try:
        yield part
        part.replace(path)
    except BaseException as error:
        with suppress(OSError):  # for example, the folder is read-only; the original error is raised below
            part.unlink(missing_ok=True)
        if isinstance(error, OSError) and str(error.filename) == str(part):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def nearest_existing(path: Path) -> Path:
    """Return the path itself if it exists, else its nearest parent folder that exists."""
    return next(place for place in (path, *path.absolute().parents) if place.exists())


def write_file(path: Path, data: bytes) -> None:
    """Write a file atomically; create its folder if necessary.

    Raises:
        OSError: the file cannot be written; the error names ``path``.
    """
    with whole_file(path) as part:
        part.write_bytes(data)
