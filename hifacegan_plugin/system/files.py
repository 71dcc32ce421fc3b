"""Atomic file writes: a file appears under its name complete or not at all."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder; rename it to ``path`` on success and delete it on an error.

    The temporary name begins with a dot, is random, so that processes on different machines never share one, and keeps
    the suffix, from which libraries choose the format.

    Raises:
        OSError: the file cannot be renamed.
    """
    part = path.with_name(f'.{secrets.token_hex(8)}.part{path.suffix}')
    try:
        yield part
        part.replace(path)
    except BaseException:
        with suppress(OSError):  # for example, the folder is read-only; the original error is raised below
            part.unlink(missing_ok=True)
        raise


def write_file(path: Path, data: bytes) -> None:
    """Write a file atomically; create its folder if necessary.

    Raises:
        OSError: the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as part:
        part.write_bytes(data)
