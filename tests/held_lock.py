"""A lock file that another process holds."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from conftest import REPOSITORY

HOLD = """
import sys
from pathlib import Path
from hifacegan_plugin.system.locks import InUseError, hold

try:
    with hold(Path(sys.argv[1])):
        print('held', flush=True)
        sys.stdin.read()
except InUseError as owner:
    print(owner, flush=True)
"""


@contextmanager
def holder(path: Path, paths: Sequence[Path] = ()) -> Iterator[tuple[subprocess.Popen, str]]:
    """Yield a process that tries to hold a lock file during the block, and its output.

    Args:
        path: path of the lock file.
        paths: folders to prepend to PYTHONPATH.
    """
    environment = os.environ | {'PYTHONPATH': os.pathsep.join(map(str, [*paths, REPOSITORY]))}
    with subprocess.Popen(
        [sys.executable, '-c', HOLD, path], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.stdin.close()
