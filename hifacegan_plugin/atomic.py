"""Files that appear under their name whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a path in the same folder to write to; it becomes ``path`` if all goes well and vanishes otherwise.

    The temporary name begins with a dot and keeps the suffix, by which libraries choose the format.

    Raises:
        OSError: if the file cannot be moved to its final name.
    """
    part = path.with_name(f'.{path.stem}.{os.getpid()}.part{path.suffix}')
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
