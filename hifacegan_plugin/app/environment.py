"""Set up and end the process that serves the page: socket, Gradio's environment, temporary folder, signals.

Nothing here imports Gradio, which takes seconds.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

REMOVALS = 50  # tries in 5 seconds


def listen(host: str, port: int) -> socket.socket:
    """Open a socket that listens on a host and a port; port 0: any that is free.

    Raises:
        OSError: it cannot listen there; the message names host and port.
    """
    family = socket.AF_INET6 if ':' in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        reason = getattr(error, 'strerror', None) or error
        raise OSError(f'cannot listen on {host}, port {port} ({reason}): choose others by --host and --port') from error


def url_of(listener: socket.socket) -> str:
    """Return the URL of the page."""
    host, port = listener.getsockname()[:2]
    return f'http://[{host}]:{port}' if ':' in host else f'http://{host}:{port}'


@contextmanager
def private_environment() -> Iterator[Path]:
    """Yield a temporary folder for the files of the page, which is removed at the end.

    Import Gradio only inside the block: it reads its environment variables on import. A signal ends the block and the
    process, with the exit status that shells show for the signal.
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
    """Turn signals into SystemExit, except those that are ignored, as under nohup."""

    def end(number: int, frame: object) -> None:
        sys.exit(128 + number)

    for name in ('SIGINT', 'SIGTERM', 'SIGHUP'):
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, end)


def _remove(folder: Path) -> None:
    """Remove a folder as far as possible, although a thread may still write to it."""
    for _ in range(REMOVALS):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.1)
    print(f'{folder} could not be removed.', file=sys.stderr)
