"""Image files: the one walk of folders, the one list of suffixes, and reading with care."""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path

from PIL import features

from hifacegan_plugin.images.image_error import ImageError
from hifacegan_plugin.images.opening import MAX_PIXELS, READS_HEIF

# Formats that OpenCV and Pillow both decode, some only where the installed Pillow was built with their codecs; and
# HEIF, which OpenCV does not.
SUFFIXES = (
    '.bmp', '.dib', '.gif', '.jfif', '.jpe', '.jpeg', '.jpg', '.pbm', '.pgm', '.png', '.pnm', '.ppm', '.tif', '.tiff',
    '.webp',
    *(('.avif',) if features.check('avif') else ()),
    *(('.j2k', '.jp2') if features.check('jpg_2000') else ()),
    *(('.heic', '.heif', '.hif') if READS_HEIF else ()),
)  # fmt: skip

# The most that files hold: four channels of 16 bits, uncompressed; metadata, previews, the clips of motion photos.
BYTES_A_PIXEL, BYTES_BESIDE_PIXELS = 8, 1 << 24


def is_image_name(name: str | os.PathLike[str]) -> bool:
    """Return whether a file name ends as those of images do, in upper or lower case."""
    return os.fspath(name).lower().endswith(SUFFIXES)


def _raise(error: OSError) -> None:
    raise error


def list_files(
    folder: str | os.PathLike[str],
    on_error: Callable[[OSError], None] = _raise,
    leave_out: Iterable[str | os.PathLike[str]] = (),
) -> list[str]:
    """List the files of a folder and of those below it, links to folders included, hidden files and folders not.

    Every folder is listed once, however many links lead to it: under its own name where it lies in ``folder``, else
    under that of the first link. So links that lead in a circle end, and no file is found twice.

    Args:
        folder: where to begin.
        on_error: called for every folder that cannot be listed; the walk goes on unless it raises, as by default.
        leave_out: folders below ``folder`` that are not listed, nor those below them.

    Returns:
        Sorted paths relative to ``folder``, with ``/``. What they name need not be there (a broken link), nor be a
        regular file (a pipe).
    """
    listed = {Path(path).resolve() for path in leave_out}
    waiting, files = deque(['']), list[str]()
    while waiting:
        below = waiting.popleft()
        place = Path(folder, below)
        real = place.resolve()
        if below and real in listed:
            continue
        listed.add(real)
        try:
            entries = _visible_entries(place)
        except OSError as error:
            on_error(error)
            continue
        folders: list[str] = []
        links: list[str] = []
        others: list[str] = []
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                kind = folders
            else:
                kind = links if entry.is_symlink() and Path(entry.path).is_dir() else others
            kind.append(f'{below}/{entry.name}' if below else entry.name)
        waiting.extendleft(reversed(folders))
        waiting.extend(links)  # after all that has a name of its own
        files += others
    return sorted(files)


def read_file(path: Path, max_pixels: int = MAX_PIXELS) -> bytes:
    """Read a file that may be an image.

    Raises:
        ImageError: it is no regular file, larger than ``max_pixels`` can be with all that a file says beside them, or
            cannot be read.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # reading a pipe would wait for ever
            raise ImageError('is no regular file')
        if status.st_size > BYTES_A_PIXEL * max_pixels + BYTES_BESIDE_PIXELS:
            raise ImageError(f'has {status.st_size:,} bytes, more than {max_pixels:,} pixels can take')
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f'cannot be read ({error.strerror})') from error


def _visible_entries(folder: Path) -> list[os.DirEntry[str]]:
    """Return the entries of a folder, sorted by name, without hidden ones."""
    with os.scandir(str(folder)) as entries:
        return sorted((entry for entry in entries if not entry.name.startswith('.')), key=lambda entry: entry.name)
