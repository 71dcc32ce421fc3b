"""The current epoch of the training loop.

BasicSR's loop passes the epoch only to its sampler. Checkpoints that are written after a signal or at the end of a
training also need the epoch, so :mod:`hifacegan_plugin.host.sampling` records it here.
"""

from __future__ import annotations

_current = 0


def begin_epoch(epoch: int) -> None:
    """Record the epoch that the training loop starts, counted from 0."""
    global _current
    _current = epoch


def current_epoch() -> int:
    """Return the current epoch, counted from 0; 0 before the training starts."""
    return _current
