"""Check databases in BasicSR's format: ``hifacegan verify-lmdb``."""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from pathlib import Path

import lmdb
from tqdm import tqdm

from hifacegan_plugin.images.databases import (
    DamagedDatabaseError,
    check_size,
    open_database,
    read_checksums,
    read_meta_info,
)
from hifacegan_plugin.images.decoding import decode
from hifacegan_plugin.images.image_error import ImageError
from hifacegan_plugin.images.opening import open_checked
from hifacegan_plugin.prepare.worker_pool import ordered_map, process_pool

CHUNK = 64

Shape = tuple[int, int, int]
Problem = tuple[str, str]


def verify(folder: Path, jobs: int = os.cpu_count() or 1) -> list[Problem]:
    """Decode all images of a database with ``jobs`` processes; compare them with ``meta_info.txt`` and checksums.

    Returns:
        The key and the problem of each faulty image.

    Raises:
        DamagedDatabaseError: the database cannot be opened, its tree is damaged, or ``meta_info.txt`` is missing or
            invalid.
    """
    shapes, checksums = read_meta_info(folder), read_checksums(folder)
    check_size(folder)
    # Reading a damaged tree can crash the process, so workers read everything, including the keys.
    try:
        with process_pool(jobs) as executor:
            found = executor.submit(list_keys, folder).result()
            problems = [(key, 'in the database, but not in meta_info.txt') for key in sorted(found - shapes.keys())]
            expected = iter([(key, shape, checksums.get(key)) for key, shape in shapes.items()])
            chunks = ((folder, chunk) for chunk in iter(lambda: list(islice(expected, CHUNK)), []))
            with tqdm(total=len(shapes), unit='image') as progress:
                for count, damaged in ordered_map(executor, check_values, chunks, window=4 * jobs):
                    problems.extend(damaged)
                    progress.update(count)
    except BrokenProcessPool as error:
        raise DamagedDatabaseError(f'{folder}: reading it crashes: the tree in data.mdb is damaged') from error
    except lmdb.Error as error:
        raise DamagedDatabaseError(f'{folder}: {error}') from error
    return problems


def list_keys(folder: Path) -> set[str]:
    """List all keys of a database."""
    database = open_database(folder)
    with database.begin() as transaction:
        return {bytes(key).decode('ascii', 'backslashreplace') for key in transaction.cursor().iternext(values=False)}


def check_values(work: tuple[Path, Sequence[tuple[str, Shape, int | None]]]) -> tuple[int, list[Problem]]:
    """Check the values of (key, shape, CRC-32 or None); return the number of values and the problems."""
    folder, expected = work
    problems = []
    database = open_database(folder)
    with database.begin(buffers=True) as transaction:
        for key, shape, crc32 in expected:
            value = transaction.get(key.encode('ascii'))
            problem = 'not in the database' if value is None else check_value(bytes(value), shape, crc32)
            if problem:
                problems.append((key, problem))
    return len(expected), problems


def check_value(value: bytes, shape: Shape, crc32: int | None) -> str | None:
    """Return the problem of a value with the recorded shape ``(H, W, C)`` and checksum; None if it is valid."""
    if crc32 is not None and zlib.crc32(value) != crc32:
        return 'damaged: wrong checksum'
    try:
        image = open_checked(value)
        decode(image)
    except ImageError as error:
        return str(error)
    return None if image.shape == shape else f'has shape {image.shape}, meta_info.txt says {shape}'
