"""Decode every image of databases in BasicSR's format, and compare it with the records of the database.

    hifacegan verify-lmdb datasets/ffhq_512.lmdb

Reports keys of meta_info.txt that the database lacks, keys that meta_info.txt lacks, images that are truncated, cannot
be decoded or have another shape than recorded, and values with a wrong checksum. The checksums are in checksums.txt,
which hifacegan lmdb and pairs write; a database without it is checked without checksums.

Exit status: 0 all is well, 1 something is damaged, 2 a database cannot be read at all.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from hifacegan_plugin.commands.arguments import positive_whole
from hifacegan_plugin.commands.failing import FAILED, complain
from hifacegan_plugin.images.databases import DamagedDatabaseError
from hifacegan_plugin.images.decoding import silence_codecs
from hifacegan_plugin.prepare.verify_lmdb import verify


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``hifacegan verify-lmdb``."""
    parser.add_argument('databases', nargs='+', type=Path, metavar='NAME.lmdb', help='databases to check')
    parser.add_argument(
        '--jobs', type=positive_whole, default=os.cpu_count(), metavar='N', help='processes (default: %(default)s)'
    )


def run(arguments: argparse.Namespace) -> int:
    """Check the databases; 0 all is well, 1 something is damaged, 2 a database cannot be read at all."""
    silence_codecs()
    status = 0
    for folder in arguments.databases:
        try:
            problems = verify(folder, arguments.jobs)
        except DamagedDatabaseError as error:
            complain(arguments, error)
            status = FAILED
            continue
        for key, problem in problems:
            print(f'{folder}: {key}: {problem}')
        print(f'{folder}: {f"{len(problems)} problems" if problems else "all is well"}')
        status = max(status, 1 if problems else 0)
    return status
