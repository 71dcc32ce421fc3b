"""Decode every picture of databases in BasicSR's format and compare them with their records.

    python data_prep/verify_lmdb.py datasets/ffhq_512.lmdb

Named are: keys of meta_info.txt that the database lacks, keys it has beyond them, pictures that are truncated, that
cannot be decoded or have another shape than recorded, and values of another checksum (checksums.txt, which the scripts
of this folder write; databases made by others are checked without).

Exit status: 0 all is well, 1 something is damaged, 2 a database cannot be read at all.
"""

from __future__ import annotations

import argparse
import os
import sys
import zlib
from collections.abc import Sequence
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from pathlib import Path

import lmdb
from tqdm import tqdm

from hifacegan_plugin.prepare.basicsr_lmdb import (
    DamagedDatabaseError,
    check_size,
    open_read_only,
    read_checksums,
    read_meta_info,
)
from hifacegan_plugin.prepare.build_command import positive
from hifacegan_plugin.prepare.images import ImageError, decode, inspect
from hifacegan_plugin.prepare.worker_pool import ordered_map, process_pool

CHUNK = 64

Shape = tuple[int, int, int]
Problem = tuple[str, str]


def verify(folder: Path, jobs: int = os.cpu_count() or 1) -> list[Problem]:
    """Check one database with `jobs` processes.

    Returns:
        (key, what is wrong with it) of everything that is wrong; empty if nothing is.

    Raises:
        DamagedDatabaseError: It cannot be opened, has no proper `meta_info.txt`, or its tree is damaged.
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
            with tqdm(total=len(shapes), unit='picture') as progress:
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
    with open_read_only(folder) as env, env.begin() as transaction:
        return {key.decode('ascii', 'backslashreplace') for key in transaction.cursor().iternext(values=False)}


def check_values(work: tuple[Path, Sequence[tuple[str, Shape, int | None]]]) -> tuple[int, list[Problem]]:
    """Check values against (key, shape, CRC-32 where known); returns their count and the problems."""
    folder, expected = work
    problems = []
    with open_read_only(folder) as env, env.begin(buffers=True) as transaction:
        for key, shape, crc32 in expected:
            value = transaction.get(key.encode('ascii'))
            problem = 'not in the database' if value is None else check_value(bytes(value), shape, crc32)
            if problem:
                problems.append((key, problem))
    return len(expected), problems


def check_value(value: bytes, shape: Shape, crc32: int | None) -> str | None:
    """Say what is wrong with a value of the recorded shape, (H, W, C), and checksum, if anything is."""
    if crc32 is not None and zlib.crc32(value) != crc32:
        return 'damaged: not the checksum that was recorded'
    try:
        found = inspect(value).shape
        decode(value)
    except ImageError as error:
        return str(error)
    return None if found == shape else f'has shape {found}, meta_info.txt says {shape}'


def main() -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('databases', nargs='+', type=Path, metavar='NAME.lmdb', help='what to check')
    parser.add_argument('--jobs', type=positive, default=os.cpu_count(), metavar='N',
                        help='processes (default: %(default)s)')
    arguments = parser.parse_args()
    status = 0
    for folder in arguments.databases:
        try:
            problems = verify(folder, arguments.jobs)
        except DamagedDatabaseError as error:
            print(f'verify_lmdb.py: {error}', file=sys.stderr)
            status = 2
            continue
        for key, problem in problems:
            print(f'{folder}: {key}: {problem}')
        print(f'{folder}: {f"{len(problems)} problems" if problems else "all is well"}')
        status = max(status, 1 if problems else 0)
    return status

