"""A TensorBoard writer that a full disk does not end the training by."""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from typing import Any

logger = logging.getLogger('basicsr.hifacegan_plugin')  # below the host's logger, so that lines reach its log file

PAUSE = 60  # seconds without TensorBoard after an error


class PatientWriter:
    """Hands everything on to a ``SummaryWriter``; where that cannot write, it leaves out a minute of events.

    The writer's thread ends with the first error, and every later call raises it. A new file is begun then, which
    TensorBoard shows as one with those before it.

    Args:
        writer: the ``SummaryWriter``.
    """

    def __init__(self, writer: Any) -> None:
        self.writer = writer
        self.silent_until = 0.0

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self.writer, name)
        if not callable(attribute):
            return attribute

        def call(*arguments: Any, **options: Any) -> Any:
            if time.monotonic() < self.silent_until:
                return None
            try:
                return attribute(*arguments, **options)
            except OSError as error:
                logger.error(f'TensorBoard cannot be written ({error}). Training goes on; it is tried again later.')
                self._begin_anew()
                return None

        return call

    def _begin_anew(self) -> None:
        self.silent_until = time.monotonic() + PAUSE
        with suppress(OSError):  # what it could not write is lost
            self.writer.close()
        self.writer.file_writer = self.writer.all_writers = None  # so that the next event opens a file
