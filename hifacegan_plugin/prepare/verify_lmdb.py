"""Checking databases in BasicSR's format against their records: ``hifacegan verify-lmdb``."""

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
    """Check one database with ``jobs`` processes.

    Returns:
        (key, what is wrong with it) of everything that is wrong; empty if nothing is.

    Raises:
        DamagedDatabaseError: it cannot be opened, has no proper ``meta_info.txt``, or its tree is damaged.
    """
    shapes, checksums = read_meta_info(folder), read_checksums(folder)
    check_size(folder)
    # Following a damaged tree can crash the process that does it, so even the keys are listed by a worker.
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
    """Check values against (key, shape, CRC-32 where known); return their count and the problems."""
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
    """Return what is wrong with a value, given the recorded shape ``(H, W, C)`` and checksum; None if nothing is."""
    if crc32 is not None and zlib.crc32(value) != crc32:
        return 'damaged: not the checksum that was recorded'
    try:
        image = open_checked(value)
        decode(image)
    except ImageError as error:
        return str(error)
    return None if image.shape == shape else f'has shape {image.shape}, meta_info.txt says {shape}'
