"""Split the images of a folder into parts: ``hifacegan split``."""

from __future__ import annotations

import hashlib
import os
import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from itertools import accumulate, chain
from pathlib import Path, PurePosixPath

from hifacegan_plugin.prepare.build_error import BuildError
from hifacegan_plugin.system.files import whole_file

FFHQ_PARTS = {'train': range(10_000), 'test': range(65_000, 70_000)}


def split_ffhq(names: Sequence[str]) -> dict[str, list[str]]:
    """Split FFHQ as in the paper into ``train`` and ``test``; other images are left out.

    Args:
        names: paths of FFHQ images; each file name is the number of the image, with any suffix.

    Raises:
        BuildError: a name is not a number, or two files have the same number.
    """
    numbered: dict[int, str] = {}
    for name in names:
        stem = PurePosixPath(name).stem
        if re.fullmatch(r'\d{5}', stem) is None:
            raise BuildError(f'{name} is not the name of an FFHQ image (00000.png to 69999.png): use --parts')
        if int(stem) in numbered:
            raise BuildError(f'{name} and {numbered[int(stem)]} are the same FFHQ image: use one of their folders')
        numbered[int(stem)] = name
    return {part: [numbered[number] for number in ids if number in numbered] for part, ids in FFHQ_PARTS.items()}


def split_by_hash(names: Sequence[str], shares: Mapping[str, float], seed: int = 0) -> dict[str, list[str]]:
    """Split into parts with the given shares, which add up to 1, by a hash of each name without its suffix."""
    *ends, _ = accumulate(shares.values())
    lists: list[list[str]] = [[] for _ in shares]
    for name in names:
        lists[bisect_right(ends, _hash(name, seed))].append(name)
    return dict(zip(shares, lists, strict=True))


def hold_out(names: Sequence[str], count: int) -> tuple[list[str], list[str]]:
    """Hold out ``count`` names with the smallest hashes; return the remaining names, then those held out."""
    held_out = set(sorted(names, key=_hash)[:count])
    return [name for name in names if name not in held_out], [name for name in names if name in held_out]


def _hash(name: str, seed: int = 0) -> float:
    """Return a hash in [0, 1) of the name without its suffix and the seed."""
    stem = str(PurePosixPath(name).with_suffix(''))
    digest = hashlib.sha256(f'{seed}/'.encode() + os.fsencode(stem)).digest()
    return int.from_bytes(digest[:8], 'big') / 2**64


def write_lists(folder: Path, parts: Mapping[str, Sequence[str]], overwrite: bool) -> None:
    """Write the names of each part to ``PART.txt``, one per line.

    Raises:
        BuildError: a file already exists or cannot be written, or a name contains a line break.
    """
    broken = [name for name in chain.from_iterable(parts.values()) if re.search(r'[\r\n]', name)]
    if broken:
        raise BuildError(f'{broken[0]!r} has a line break in its name, which a list cannot store: rename it')
    paths = {part: folder / f'{part}.txt' for part in parts}
    existing = [str(path) for path in paths.values() if path.exists()]
    if existing and not overwrite:
        raise BuildError(f'files already exist: {" ".join(existing)}: --overwrite replaces them')
    try:
        with ExitStack() as drafts:  # write all files before renaming any
            for part, names in parts.items():
                draft = drafts.enter_context(whole_file(paths[part]))
                draft.write_text(''.join(f'{name}\n' for name in names), encoding='utf-8', errors='surrogateescape')
    except OSError as error:
        raise BuildError(f'cannot write {error.filename}: {error.strerror}') from error
