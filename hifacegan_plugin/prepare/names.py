"""The images of a folder or database that go into a data set."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from hifacegan_plugin.images.databases import DamagedDatabaseError, check_size, read_meta_info
from hifacegan_plugin.images.files import is_image_name, list_files
from hifacegan_plugin.prepare.build_error import BuildError


def read_shapes(database: Path) -> dict[str, tuple[int, int, int]]:
    """Return the shape, ``(H, W, C)``, of every image of a database by its key.

    Raises:
        BuildError: the database is missing, damaged or empty.
    """
    try:
        shapes = read_meta_info(database)
        check_size(database)
    except DamagedDatabaseError as error:
        raise BuildError(f'-i {error}; make the database again with hifacegan lmdb') from error
    if not shapes:
        raise BuildError(f'-i {database} contains no images')
    return shapes


def read_names(folder: Path, list_file: Path | None = None) -> list[str]:
    """List the images of a folder and print how many other files it has; or read the names from a list.

    Args:
        folder: folder with the images.
        list_file: text file with one name per line.

    Returns:
        Paths relative to ``folder``.

    Raises:
        BuildError: the folder or the list is missing, unreadable or empty, or the list repeats a name.
    """
    try:
        if not folder.is_dir():
            raise BuildError(f'-i {folder}: {"expected a folder, not a file" if folder.exists() else "no such folder"}')
        if list_file is None:
            files = list_files(folder)
            names = [name for name in files if is_image_name(name)]
            others = sorted(set(files) - set(names))
        else:
            # Some editors write a byte order mark at the beginning of a file.
            text = list_file.read_text(encoding='utf-8-sig', errors='surrogateescape')
            if '\0' in text:  # as in UTF-16
                raise BuildError(f'{list_file} is not UTF-8 text: save it as UTF-8')
            names, others = [name for name in text.split('\n') if name], []
    except OSError as error:
        raise BuildError(f'{error.filename}: {error.strerror}') from error
    if others:
        suffixes = ', '.join(sorted({Path(name).suffix or 'no suffix' for name in others}))
        print(f'{folder}: skipped files that are not images: {len(others)} ({suffixes})')
    if not names:
        raise BuildError(f'{list_file or folder} contains no images')
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise BuildError(f'{list_file} names {repeated[0]} more than once')
    return names
