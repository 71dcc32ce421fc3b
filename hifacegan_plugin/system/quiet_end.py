"""End a command quietly on Ctrl-C or when its output is no longer read, as by ``| head -1``."""

from __future__ import annotations

import io
import os
import select
import signal
import stat
import sys
from collections.abc import Callable
from typing import TextIO

SIGPIPE = getattr(signal, 'SIGPIPE', 13)  # as everywhere but on Windows, which has none


def end_quietly(command: Callable[[], int]) -> int:
    """Run a command that ends without a traceback on Ctrl-C or when the reader of its output has ended.

    It may print names that the encoding of its output does not have: they are escaped.

    Returns:
        The exit status: the command's, or as shells show the signal, 128 + its number.

    Raises:
        BrokenPipeError: another pipe broke than the command's own output.
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
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in unread:
            os.dup2(nowhere, stream.fileno())  # takes what Python flushes at its end
        return 128 + SIGPIPE
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def _is_unread(stream: TextIO) -> bool:
    """Return whether a stream goes into a pipe that has no reader; on Windows, which cannot tell, whether into any."""
    if not hasattr(select, 'poll'):
        return stat.S_ISFIFO(os.fstat(stream.fileno()).st_mode)
    poll = select.poll()
    poll.register(stream, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))
