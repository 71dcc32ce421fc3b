"""Exit without a traceback on Ctrl-C or when the output is no longer read, as with ``| head -1``."""

from __future__ import annotations

import io
import os
import select
import signal
import stat
import sys
from collections.abc import Callable
from typing import TextIO

SIGPIPE = getattr(signal, 'SIGPIPE', 13)  # Windows does not define it


def end_quietly(command: Callable[[], int]) -> int:
    """Run a command; exit without a traceback on Ctrl-C or when its output is no longer read.

    Characters that the encoding of the output lacks are escaped.

    Returns:
        The exit status of the command, or 128 + the number of the signal, as in shells.

    Raises:
        BrokenPipeError: a pipe other than stdout and stderr is broken.
    """
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == 'strict':
        sys.stdout.reconfigure(errors='backslashreplace')
    try:
        try:
            return command()
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        unread = [stream for stream in (sys.stdout, sys.stderr) if _is_unread(stream)]
        if not unread:
            raise
        devnull = os.open(os.devnull, os.O_WRONLY)
        for stream in unread:
            os.dup2(devnull, stream.fileno())  # Python flushes its streams once more when it exits
        return 128 + SIGPIPE
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def _is_unread(stream: TextIO) -> bool:
    """Return whether a stream is a pipe without a reader; on Windows, whether it is a pipe."""
    if not hasattr(select, 'poll'):
        return stat.S_ISFIFO(os.fstat(stream.fileno()).st_mode)
    poll = select.poll()
    poll.register(stream, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))
