"""The process that serves the page: socket, environment variables of Gradio, temporary folder, signals.

This module does not import Gradio, because that takes seconds.
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

REMOVALS = 50  # attempts, one every 0.1 seconds


def listen(host: str, port: int) -> socket.socket:
    """Open a socket that listens on a host and a port; port 0 chooses a free port.

    Raises:
        OSError: the address is not available; the message names host and port.
    """
    family = socket.AF_INET6 if ':' in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        reason = getattr(error, 'strerror', None) or error
        raise OSError(f'cannot listen on {host}, port {port} ({reason}): set --host or --port') from error


def url_of(listener: socket.socket) -> str:
    """Return the URL of the page."""
    host, port = listener.getsockname()[:2]
    return f'http://[{host}]:{port}' if ':' in host else f'http://{host}:{port}'


@contextmanager
def private_environment() -> Iterator[Path]:
    """Yield a temporary folder for the files of the page and delete it afterwards.

    Import Gradio only inside the block, because it reads its environment variables on import. On SIGINT, SIGTERM or
    SIGHUP, the process exits with 128 + the number of the signal, as in shells.
    """
    _exit_on_signals()
    folder = Path(tempfile.mkdtemp(prefix='hifacegan-app-'))
    try:
        os.environ |= {'GRADIO_TEMP_DIR': str(folder), 'GRADIO_ANALYTICS_ENABLED': 'False'}
        yield folder
    except SystemExit as end:
        _remove(folder)
        os._exit(int(end.code or 0))  # does not wait for a thread that is restoring an image
    finally:
        _remove(folder)


def _exit_on_signals() -> None:
    """Turn signals into SystemExit, except signals that are ignored, as under nohup."""

    def end(number: int, frame: object) -> None:
        sys.exit(128 + number)

    for name in ('SIGINT', 'SIGTERM', 'SIGHUP'):
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, end)


def _remove(folder: Path) -> None:
    """Delete a folder; try again while another thread still writes to it."""
    for _ in range(REMOVALS):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.1)
    print(f'{folder} could not be removed.', file=sys.stderr)
