"""The end of a command that nobody listens to any more: ``| head -1``, or Ctrl-C."""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Callable
from typing import TextIO


def end_quietly(command: Callable[[], int]) -> int:
    """Run a command; without a traceback it ends where what reads its output has ended, and on Ctrl-C.

    Returns:
        The exit status: the command's, or as shells show the signal, 128 + its number.

    Raises:
        BrokenPipeError: another pipe broke than the command's own output.
    """
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
        return 128 + signal.SIGPIPE
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def _is_unread(stream: TextIO) -> bool:
    """Tell whether a stream goes into a pipe that nobody can read from."""
    poll = select.poll()
    poll.register(stream, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))
