"""The keys of images in a database in BasicSR's format."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import PurePosixPath
from urllib.parse import quote

MAX_LENGTH = 200


def lmdb_keys(names: Iterable[str]) -> dict[str, str]:
    """Return a unique key for every image, which BasicSR can use.

    BasicSR uses the part of a line of `meta_info.txt` before the first dot as the key, and reads it as ASCII. It names
    a saved image after the part of the key behind the last `/`. So a key here is the relative path without the suffix,
    and every character except ASCII letters, digits and `_-~` is percent-encoded as in URLs (`urllib.parse.unquote`
    decodes it): `00001.png` has the key `00001`, `a/b 1.v2.png` the key `a%2Fb%201%2Ev2`. The key includes the folder,
    so images of the same name have different keys and are saved under different names.

    Files that differ in the suffix only (`a.png`, `a.jpg`) keep it: `a%2Epng`, `a%2Ejpg`. A key longer than
    `MAX_LENGTH` is cut and ends in a hash of the name: file systems limit names to 255 bytes, and BasicSR appends the
    experiment's name to the key.

    Args:
        names: relative paths with `/`, without duplicates.

    Returns:
        The key of each name, in the order of the names.
    """
    keys = {name: escape(_without_suffix(name)) for name in names}
    # A name with its suffix may equal another without: `a.png` and `a.png.jpg` beside `a.jpg`.
    while shared := {key for key, count in Counter(keys.values()).items() if count > 1}:
        keys.update((name, escape(name)) for name, key in keys.items() if key in shared)
    return keys


def _without_suffix(name: str) -> str:
    path = PurePosixPath(name)
    return str(path.with_suffix('')) if path.name else name  # a list may hold "." or "/"


def escape(name: str) -> str:
    """Return the key of a name: percent-encoded, and with a hash at the end if it would be too long."""
    raw = os.fsencode(name)
    key = quote(raw, safe='').replace('.', '%2E')
    if len(key) <= MAX_LENGTH:
        return key
    digest = hashlib.sha256(raw).hexdigest()[:32]
    return f'{key[: MAX_LENGTH - 1 - len(digest)]}-{digest}'
