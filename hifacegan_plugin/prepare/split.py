"""Splitting the images of a folder into parts: ``hifacegan split``."""

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
    """Take the paper's parts of FFHQ; images that are in neither are left out.

    Args:
        names: file names of FFHQ: the image's number, in any folder, with any suffix.

    Raises:
        BuildError: a name is no number, or two files have the same one.
    """
    numbered: dict[int, str] = {}
    for name in names:
        stem = PurePosixPath(name).stem
        if re.fullmatch(r'\d{5}', stem) is None:
            raise BuildError(f'{name} is no name of an FFHQ image (00000.png to 69999.png): use --parts')
        if int(stem) in numbered:
            raise BuildError(f'{name} and {numbered[int(stem)]} are the same FFHQ image: name one folder of them')
        numbered[int(stem)] = name
    return {part: [numbered[number] for number in ids if number in numbered] for part, ids in FFHQ_PARTS.items()}


def split_by_hash(names: Sequence[str], shares: Mapping[str, float], seed: int = 0) -> dict[str, list[str]]:
    """Split into parts of the given shares (they add up to 1) by a hash of each name without its suffix."""
    *ends, _ = accumulate(shares.values())
    lists: list[list[str]] = [[] for _ in shares]
    for name in names:
        lists[bisect_right(ends, _drawn_from(name, seed))].append(name)
    return dict(zip(shares, lists, strict=True))


def hold_out(names: Sequence[str], count: int) -> tuple[list[str], list[str]]:
    """Split off so many names, those that come first by a hash of each without its suffix; return the others first."""
    held_out = set(sorted(names, key=_drawn_from)[:count])
    return [name for name in names if name not in held_out], [name for name in names if name in held_out]


def _drawn_from(name: str, seed: int = 0) -> float:
    """Return a number in [0, 1) that the name without its suffix and the seed determine."""
    stem = str(PurePosixPath(name).with_suffix(''))
    digest = hashlib.sha256(f'{seed}/'.encode() + os.fsencode(stem)).digest()
    return int.from_bytes(digest[:8], 'big') / 2**64


def write_lists(folder: Path, parts: Mapping[str, Sequence[str]], overwrite: bool) -> None:
    """Write ``PART.txt`` of every part.

    Raises:
        BuildError: one of the files is there already, or cannot be written, or a name does not fit into a line.
    """
    broken = [name for name in chain.from_iterable(parts.values()) if re.search(r'[\r\n]', name)]
    if broken:
        raise BuildError(f'{broken[0]!r} has a line break in its name, and a list has a name on each line: rename it')
    paths = {part: folder / f'{part}.txt' for part in parts}
    there = [str(path) for path in paths.values() if path.exists()]
    if there and not overwrite:
        raise BuildError(f'{" ".join(there)}: there already, --overwrite replaces what is there')
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as drafts:  # all are written before any gets its name
            for part, names in parts.items():
                draft = drafts.enter_context(whole_file(paths[part]))
                draft.write_text(''.join(f'{name}\n' for name in names), encoding='utf-8', errors='surrogateescape')
    except OSError as error:
        raise BuildError(f'cannot write {error.filename}: {error.strerror}') from error
