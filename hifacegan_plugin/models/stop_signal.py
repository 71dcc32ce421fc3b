"""SIGTERM, with which cluster managers announce that they will end a process."""

from __future__ import annotations

import signal
import threading


class StopSignal:
    """Remembers that SIGTERM came, so that the training can end where a checkpoint makes sense."""

    def __init__(self) -> None:
        self.came = False
        if threading.current_thread() is threading.main_thread():  # elsewhere Python takes no signals
            signal.signal(signal.SIGTERM, self._remember)

    def _remember(self, *_: object) -> None:
        self.came = True
