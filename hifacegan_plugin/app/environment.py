"""What surrounds the page: Gradio's switches, a folder for files, and the end of the process, which leaves none."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def private_environment() -> Iterator[Path]:
    """Yield the folder for the files of the page, which is removed in the end; Gradio is to be imported inside alone.

    Where a signal ends the block, the process ends, with the exit status that shells show for it.
    """
    _exit_on_signals()
    folder = Path(tempfile.mkdtemp(prefix='hifacegan-app-'))
    try:
        os.environ |= {'GRADIO_TEMP_DIR': str(folder), 'GRADIO_ANALYTICS_ENABLED': 'False'}
        yield folder
    except SystemExit as end:
        _remove(folder)
        os._exit(int(end.code or 0))  # without waiting for a thread that restores an image
    finally:
        _remove(folder)


def _exit_on_signals() -> None:
    """Turn signals into SystemExit, but for those that are to be ignored, as under nohup."""

    def end(number: int, frame: object) -> None:
        sys.exit(128 + number)

    for name in ('SIGINT', 'SIGTERM', 'SIGHUP'):
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, end)


def _remove(folder: Path) -> None:
    """Remove a folder into which a thread may be writing."""
    while folder.exists():
        shutil.rmtree(folder, ignore_errors=True)
