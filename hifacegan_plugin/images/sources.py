"""Find, read and decode the images of a folder or an LMDB."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote, unquote

import cv2
import lmdb
import numpy as np

from hifacegan_plugin.images.databases import DamagedDatabaseError, Database, check_size, open_database
from hifacegan_plugin.images.decoding import as_8_bit_bgr, decode, without_alpha
from hifacegan_plugin.images.files import SUFFIXES, is_image_name, list_files, read_file
from hifacegan_plugin.images.image_error import ImageError
from hifacegan_plugin.images.lmdb_keys import escape
from hifacegan_plugin.images.opening import MAX_PIXELS, open_image

Where = TypeVar('Where')
_SHAPE_AND_LEVEL = re.compile(r' \(\d+,\d+,\d+\).*$')


class ImageSource(NamedTuple):
    """Where an image is: ``name`` is its key in the LMDB ``root``, or its path below the folder ``root``.

    ``database`` keeps the LMDB open as long as the source exists.
    """

    root: str
    name: str
    database: Database | None = None

    @property
    def is_in_database(self) -> bool:
        """Whether ``root`` is an LMDB."""
        return self.root.endswith('.lmdb')

    @property
    def path(self) -> str:
        """The LMDB key, or the path of the file."""
        return self.name if self.is_in_database else f'{self.root}/{self.name}'

    @property
    def stem(self) -> str:
        """The name without suffix; it is the same in a folder and in the LMDB that ``hifacegan lmdb`` made from it."""
        return unquote(self.name) if self.is_in_database else _without_suffix(self.name)

    def __str__(self) -> str:
        return f"key '{self.name}' of {self.root}" if self.is_in_database else self.path


# ------------------------------------------------------------------------------------------------------- finding


def find_images(
    dataroot: str | Sequence[str], backend: str, *, option: str = 'dataroot_gt', list_file: str | None = None
) -> list[ImageSource]:
    """List the images of one or more folders or LMDBs, sorted by name within each.

    Args:
        dataroot: a path, a pattern such as ``ffhq-*.lmdb`` or a list of these; ``~`` is expanded. Folders are searched
            as in :func:`~hifacegan_plugin.images.files.list_files`.
        backend: ``disk`` or ``lmdb``.
        option: the option that holds ``dataroot``, for error messages.
        list_file: a text file with the images to use, one a line: paths below the root (with or without suffix), or
            keys. The lines of a ``meta_info.txt``, with shape and level after the name, are accepted, too.

    Raises:
        ValueError: the backend is unknown or does not fit the root, there are no images, no root has a listed name, a
            listed name may mean several images, or an LMDB is truncated.
        FileNotFoundError: a root, a part of an LMDB, or the list does not exist.
    """
    find = {'disk': _names_in_folder, 'lmdb': _keys_of_lmdb}.get(backend)
    if find is None:
        raise ValueError(f'io_backend: type must be disk or lmdb, not {backend!r}')
    sources = []
    for root in _roots(dataroot, option):
        database = open_database(root) if backend == 'lmdb' else None
        sources += [ImageSource(str(root), name, database) for name in find(root, option)]
    return sources if list_file is None else _choose(sources, Path(list_file).expanduser())


def names_to_save(sources: Sequence[ImageSource]) -> list[str]:
    """Return a unique name for every image, to save its results under.

    The name is the file name or key without the suffix. If two images share a name, all names include the folders below
    the common parent of all roots, with ``/`` escaped as in the keys of ``hifacegan lmdb``: ``a%2F1`` for ``a/1.png``.
    If names still differ by the suffix only, they include it.
    """
    above = os.path.commonpath([Path(root).absolute() for root in {source.root for source in sources}])

    def below(source: ImageSource, name: str) -> str:
        return quote(os.fsencode((Path(source.root).absolute() / name).relative_to(above)), safe='')

    names = [Path(source.path).stem for source in sources]
    if len(set(names)) < len(names):
        names = [below(source, source.stem) for source in sources]
    if len(set(names)) < len(names):
        names = [below(source, source.name) for source in sources]
    return names


def name_to_save(item: dict[str, Any]) -> str:
    """Return the name to save the results of a dataset item under; items of the host's datasets have no ``name``."""
    return item.get('name') or Path(item['lq_path']).stem


def _roots(dataroot: str | Sequence[str], option: str) -> list[Path]:
    roots = []
    for entry in [dataroot] if isinstance(dataroot, (str, os.PathLike)) else dataroot:
        path = Path(entry).expanduser()
        matches = [path] if path.exists() else sorted(path.parent.glob(path.name))
        if not matches:
            raise FileNotFoundError(f'{option}: {entry} does not exist')
        roots += matches
    if not roots:
        raise ValueError(f'{option} is an empty list')
    return roots


def _names_in_folder(folder: Path, option: str) -> list[str]:
    if folder.suffix == '.lmdb':
        raise ValueError(f'{option}: {folder} is an LMDB; set io_backend: {{type: lmdb}}')
    if not folder.is_dir():
        raise ValueError(f'{option}: {folder} is not a folder')

    def refuse(error: OSError) -> None:
        raise ValueError(f'{option}: {error.filename} cannot be read ({error.strerror})') from error

    names = [name for name in list_files(folder, refuse) if is_image_name(name)]
    if not names:
        raise ValueError(f'{option}: no images in {folder}; looked for {", ".join(SUFFIXES)}, in sub-folders too')
    return names


def _keys_of_lmdb(database: Path, option: str) -> list[str]:
    if database.suffix != '.lmdb':
        raise ValueError(f"{option}: {database} does not end in '.lmdb'; for a folder, io_backend: {{type: disk}}")
    for part in ('data.mdb', 'meta_info.txt'):
        if not (database / part).is_file():
            raise FileNotFoundError(
                f'{option}: {database} has no {part}: it is not a BasicSR database, or an incomplete '
                'one; make it again with hifacegan lmdb'
            )
    lines = read_lines(database / 'meta_info.txt', option)
    keys = [_without_suffix(_SHAPE_AND_LEVEL.sub('', line)) for line in lines if line.strip()]
    if not keys:
        raise ValueError(f'{option}: {database}/meta_info.txt lists no images')
    try:
        check_size(database)
    except DamagedDatabaseError as error:
        raise ValueError(f'{option}: {error}; make it again with hifacegan lmdb') from error
    return sorted(keys)


def read_lines(file: Path, option: str) -> list[str]:
    """Read a list of names.

    Raises:
        ValueError: the file is not UTF-8 text; the message names the option and the file.
    """
    try:
        return file.read_text(encoding='utf-8-sig').splitlines()  # some editors begin a file with a byte order mark
    except UnicodeDecodeError as error:
        raise ValueError(f'{option}: {file} is not UTF-8 text ({error})') from error


def _without_suffix(name: str) -> str:
    stem, dot, _ = name.rpartition('.')
    return stem if dot else name


class ListedNames:
    """Finds images by the names that a list may use.

    An image has the name that the list gives, or else this name with a suffix, or with another suffix. In an LMDB, it
    has the key that belongs to the name.

    Args:
        images: the images of the data set.
    """

    def __init__(self, images: Sequence[ImageSource]) -> None:
        self._images = images
        self._by_name: defaultdict[str, list[int]] = defaultdict(list)
        self._by_stem: defaultdict[str, list[int]] = defaultdict(list)
        for index, image in enumerate(images):
            self._by_name[image.name].append(index)
            self._by_stem[image.stem].append(index)

    def find(self, name: str, where: str) -> int | None:
        """Return the index of the image that a name means; None if there is none.

        Args:
            name: name in the list.
            where: the list, for the message.

        Raises:
            ValueError: it may mean several images; the message names two of them.
        """
        found = self._by_name.get(name) or sorted(self._similar(name))
        if len(found) > 1:
            first, second = (self._images[index] for index in found[:2])
            raise ValueError(f'{where} names {name!r}, which may be {first} or {second}: write its full name or key')
        return found[0] if found else None

    def _similar(self, name: str) -> set[int]:
        """Return the images with this name if suffixes are ignored."""
        stem = _without_suffix(name) if is_image_name(name) else name
        found = {*self._by_stem.get(name, ()), *self._by_stem.get(stem, ())}
        for key in (stem, escape(stem), escape(name)):  # lines of meta_info.txt end in ".png"; long keys in a hash
            found.update(index for index in self._by_name.get(key, ()) if self._images[index].is_in_database)
        return found


def _choose(sources: list[ImageSource], list_file: Path) -> list[ImageSource]:
    if not list_file.is_file():
        raise FileNotFoundError(f'meta_info_file: {list_file} does not exist')
    names, where = ListedNames(sources), f'meta_info_file: {list_file}'
    chosen = []
    for line in map(str.strip, read_lines(list_file, 'meta_info_file')):
        if not line:
            continue
        name = _SHAPE_AND_LEVEL.sub('', line)
        if name != line and sources[0].is_in_database:  # "key.png (h,w,c) level"
            name = _without_suffix(name)
        index = names.find(name, where)
        if index is None:
            raise ValueError(f'{where} names {name!r}, which no dataroot_gt has')
        chosen.append(sources[index])
    if not chosen:
        raise ValueError(f'{where} names no images')
    return chosen


# ------------------------------------------------------------------------------------------------------- reading


def read_image(source: ImageSource) -> np.ndarray:
    """Read and decode an image, as defined in :mod:`hifacegan_plugin.images.decoding`.

    As in the host's own datasets, grey images become three equal channels, an alpha channel is dropped, 16 bits are
    reduced to the upper 8, and the orientation is applied.

    Returns:
        uint8 BGR, (H, W, 3).

    Raises:
        ValueError: the image cannot be read or decoded; the message names it.
    """
    return as_8_bit_bgr(_decode(read_encoded, source))


def read_rgb(path: Path) -> np.ndarray:
    """Read and decode an image file as :func:`read_image` does, but to uint8 RGB, (H, W, 3).

    Raises:
        ValueError: as :func:`read_image`.
    """
    return cv2.cvtColor(as_8_bit_bgr(_decode(read_file, path)), cv2.COLOR_BGR2RGB)


def read_depth(depth_map: ImageSource) -> np.ndarray:
    """Read and decode a depth map, grey with 8 or 16 bits.

    Returns:
        float32 (H, W), from 0 (black, near) to 1.

    Raises:
        ValueError: as :func:`read_image`.
    """
    depth = without_alpha(_decode(read_encoded, depth_map))
    grey = depth if depth.ndim == 2 else cv2.cvtColor(depth, cv2.COLOR_BGR2GRAY)
    return grey.astype(np.float32) / np.iinfo(grey.dtype).max


def read_encoded(source: ImageSource, max_pixels: int = MAX_PIXELS) -> bytes:
    """Read the encoded bytes of an image.

    Raises:
        ImageError: it is missing, cannot be read, or is a file larger than ``max_pixels`` can need.
    """
    if not source.is_in_database:
        return read_file(Path(source.path), max_pixels)
    try:
        value = (source.database or open_database(source.root)).read(source.name)
    except lmdb.Error as error:
        raise ImageError(f'cannot be read ({error})') from error
    if value is None:
        raise ImageError('is missing: make the database again, or correct the list that names it')
    return value


def _decode(read: Callable[[Where], bytes], where: Where) -> np.ndarray:
    """Decode the bytes that ``read(where)`` returns; errors name ``where``."""
    try:
        return decode(open_image(read(where)))
    except ImageError as error:
        raise ValueError(f'{where} {error}') from error
