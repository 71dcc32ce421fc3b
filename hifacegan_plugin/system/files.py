"""Files that appear under their name whole or not at all."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a path in the same folder to write to; it becomes ``path`` if all goes well and vanishes otherwise.

    The temporary name begins with a dot, is drawn, so that no two processes on any machines share one, and keeps the
    suffix, by which libraries choose the format.

    Raises:
        OSError: if the file cannot be moved to its final name.
    """
    part = path.with_name(f'.{secrets.token_hex(8)}.part{path.suffix}')
    try:
        yield part
        part.replace(path)
    except BaseException:
        with suppress(OSError):  # such as a folder that cannot be written to, which is what led here
            part.unlink(missing_ok=True)
        raise


def write_file(path: Path, data: bytes) -> None:
    """Write a file whole or not at all, and make its folder if it is missing.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as part:
        part.write_bytes(data)
