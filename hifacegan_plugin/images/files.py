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
    root = Path(folder)
    visited = {Path(path).resolve() for path in leave_out} - {root.resolve()}
    waiting, files = deque([root]), list[str]()  # the root, then links to folders
    while waiting:
        for name, folders, names in os.walk(waiting.popleft(), onerror=on_error):
            place = Path(name)
            if place.resolve() in visited:
                folders.clear()
                continue
            visited.add(place.resolve())
            folders[:] = sorted(name for name in folders if not name.startswith('.'))
            waiting += [place / name for name in folders if (place / name).is_symlink()]
            relative = place.relative_to(root)
            files += [(relative / name).as_posix() for name in names if not name.startswith('.')]
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
