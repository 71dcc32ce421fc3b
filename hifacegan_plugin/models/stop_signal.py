"""The signals that ask a training to stop: Ctrl-C, a closed terminal, the notice of a cluster manager."""

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
ONE_REQUEST = 1  # seconds in which a signal that comes again is the same request: a closing terminal sends it twice


@contextmanager
def signals_left_alone() -> Iterator[None]:
    """Restore this process's signal handlers after a model was built."""
    before = {number: signal.getsignal(number) for number in STOPPING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class StopSignal:
    """Records the first signal, so that the training can end where a checkpoint makes sense.

    A later SIGINT or SIGHUP ends the process at once. A later SIGTERM does not, because its sender will kill a process
    that does not end in time. Signals that were ignored when this process started, as with ``nohup``, stay ignored.
    """

    def __init__(self) -> None:
        self.number: signal.Signals | None = None  # the signal received
        self.came_at = 0.0
        if threading.current_thread() is threading.main_thread():  # elsewhere Python takes no signals
            for number in STOPPING:
                if signal.getsignal(number) != signal.SIG_IGN:
                    signal.signal(number, self._remember)

    @property
    def came(self) -> bool:
        """Return whether the process was asked to stop."""
        return self.number is not None

    def _remember(self, number: int, _: object) -> None:
        if not self.came:
            self.number, self.came_at = signal.Signals(number), time.monotonic()
            if number == signal.SIGINT:
                with suppress(OSError, ValueError):  # stderr is closed: save all the same
                    os.write(sys.stderr.fileno(), b'\nSaving after this iteration; once more ends at once.\n')
        elif number != signal.SIGTERM and time.monotonic() - self.came_at > ONE_REQUEST:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)


def exit_status(number: signal.Signals) -> int:
    """Return the exit status of a training that a signal stopped and that has saved.

    It is 0 for SIGTERM, with which a cluster manager ends a job as planned, and else what shells show: 128 + number.
    """
    return 0 if number == signal.SIGTERM else 128 + number
