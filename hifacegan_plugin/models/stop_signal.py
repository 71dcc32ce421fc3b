"""Signals that stop a training: Ctrl-C, a closed terminal, or SIGTERM from a cluster manager."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

# Windows has no SIGHUP.
STOPPING = tuple(getattr(signal, name) for name in ('SIGTERM', 'SIGINT', 'SIGHUP') if hasattr(signal, name))
REPEATED_WITHIN = 1  # seconds; a repeated signal is ignored, because a closing terminal sends SIGHUP twice


@contextmanager
def signals_left_alone() -> Iterator[None]:
    """Restore the signal handlers of this process after the block, in which a model is built."""
    before = {number: signal.getsignal(number) for number in STOPPING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class StopSignal:
    """Records the first signal, so that the training can finish its iteration and write a checkpoint.

    A second SIGINT or SIGHUP ends the process immediately. A second SIGTERM does not, because its sender kills
    processes that do not end in time. Signals that the process ignores from the start, as with ``nohup``, stay ignored.
    """

    def __init__(self) -> None:
        self.number: signal.Signals | None = None  # the received signal
        self.came_at = 0.0
        if threading.current_thread() is threading.main_thread():  # other threads cannot set handlers
            for number in STOPPING:
                if signal.getsignal(number) != signal.SIG_IGN:
                    signal.signal(number, self._remember)

    @property
    def came(self) -> bool:
        """Whether a signal was received."""
        return self.number is not None

    def _remember(self, number: int, _: object) -> None:
        if not self.came:
            self.number, self.came_at = signal.Signals(number), time.monotonic()
            if number == signal.SIGINT:
                with suppress(OSError, ValueError):  # stderr may be closed
                    os.write(sys.stderr.fileno(), b'\nSaving after this iteration. Press Ctrl-C again to exit now.\n')
        elif number != signal.SIGTERM and time.monotonic() - self.came_at > REPEATED_WITHIN:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)


def exit_status(number: signal.Signals) -> int:
    """Return the exit status of a training that was stopped by a signal and has written a checkpoint.

    It is 0 for SIGTERM, with which cluster managers end jobs, otherwise 128 + the number of the signal, as in shells.
    """
    return 0 if number == signal.SIGTERM else 128 + number
