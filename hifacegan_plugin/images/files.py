"""Image files: list folders, know the suffixes, and read files safely."""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path

from PIL import features

from hifacegan_plugin.images.image_error import ImageError
from hifacegan_plugin.images.opening import MAX_PIXELS, READS_HEIF

# Formats that OpenCV and Pillow both decode (some need a Pillow built with their codecs), and HEIF, which OpenCV does
# not decode.
SUFFIXES = (
    '.bmp', '.dib', '.gif', '.jfif', '.jpe', '.jpeg', '.jpg', '.pbm', '.pgm', '.png', '.pnm', '.ppm', '.tif', '.tiff',
    '.webp',
    *(('.avif',) if features.check('avif') else ()),
    *(('.j2k', '.jp2') if features.check('jpg_2000') else ()),
    *(('.heic', '.heif', '.hif') if READS_HEIF else ()),
)  # fmt: skip

# Upper limit of file sizes: four uncompressed channels of 16 bits; metadata, previews and motion-photo clips.
BYTES_A_PIXEL, BYTES_BESIDE_PIXELS = 8, 1 << 24


def is_image_name(name: str | os.PathLike[str]) -> bool:
    """Return whether a file name has the suffix of an image, in upper or lower case."""
    return os.fspath(name).lower().endswith(SUFFIXES)


def _raise(error: OSError) -> None:
    raise error


def list_files(
    folder: str | os.PathLike[str],
    on_error: Callable[[OSError], None] = _raise,
    leave_out: Iterable[str | os.PathLike[str]] = (),
) -> list[str]:
    """List the files of a folder recursively; follow links to folders, skip hidden files and folders.

    Every folder is listed once, whatever links point to it: under its own name if it is inside ``folder``, otherwise
    under the name of the first link. So link cycles end, and no file is found twice.

    Args:
        folder: the folder to search.
        on_error: called for every folder that cannot be listed; the search continues unless it raises. By default it
            raises.
        leave_out: folders below ``folder`` to skip, with their subfolders.

    Returns:
        Sorted paths relative to ``folder``, with ``/``. A path may be a broken link, or not a regular file (a pipe).
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
        waiting.extend(links)  # after all folders that are inside ``folder``
        files += others
    return sorted(files)


def read_file(path: Path, max_pixels: int = MAX_PIXELS) -> bytes:
    """Read a file that may be an image.

    Raises:
        ImageError: it is not a regular file, is larger than ``max_pixels`` and metadata can need, or cannot be read.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # reading a pipe would wait for ever
            raise ImageError('is a folder' if stat.S_ISDIR(status.st_mode) else 'is not a regular file')
        if status.st_size > BYTES_A_PIXEL * max_pixels + BYTES_BESIDE_PIXELS:
            raise ImageError(f'has {status.st_size:,} bytes, more than {max_pixels:,} pixels can take')
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f'cannot be read ({error.strerror})') from error


def _visible_entries(folder: Path) -> list[os.DirEntry[str]]:
    """Return the entries of a folder, sorted by name, without hidden ones."""
    with os.scandir(str(folder)) as entries:
        return sorted((entry for entry in entries if not entry.name.startswith('.')), key=lambda entry: entry.name)
