"""Keys of images in a database of BasicSR's format."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import PurePosixPath
from urllib.parse import quote

MAX_LENGTH = 200


def lmdb_keys(names: Iterable[str]) -> dict[str, str]:
    """Return a key for every image that BasicSR can use, no two the same.

    BasicSR takes the part of a line of `meta_info.txt` before the first dot as the key, reads it as ASCII, and names
    the restored image that it saves after what follows the key's last `/`. So a key here is the file's name in its
    folder without the suffix, and what is neither an ASCII letter nor a digit nor one of `_-~` is percent-encoded as
    in web addresses (`urllib.parse.unquote` turns it back): `00001.png` has the key `00001`, `a/b 1.v2.png` the key
    `a%2Fb%201%2Ev2`. With the folder in it images of the same name stay apart, also when they are saved.

    Files that differ in the suffix only (`a.png`, `a.jpg`) keep it: `a%2Epng`, `a%2Ejpg`. A key longer than
    `MAX_LENGTH` (file systems end at 255 bytes, and BasicSR puts the experiment's name behind the key) ends in a hash
    of the name.

    Args:
        names: file names, `/` between folders, each once.

    Returns:
        The key of each name, in the order of the names.
    """
    keys = {name: _escape(str(PurePosixPath(name).with_suffix(''))) for name in names}
    # A name with its suffix may meet another one without (`a.png` of three: `a.png`, `a.jpg`, `a.png.jpg`).
    while shared := {key for key, count in Counter(keys.values()).items() if count > 1}:
        keys.update((name, _escape(name)) for name, key in keys.items() if key in shared)
    return keys


def _escape(name: str) -> str:
    raw = os.fsencode(name)
    key = quote(raw, safe='').replace('.', '%2E')
    if len(key) <= MAX_LENGTH:
        return key
    digest = hashlib.sha256(raw).hexdigest()[:32]
    return f'{key[: MAX_LENGTH - 1 - len(digest)]}-{digest}'
