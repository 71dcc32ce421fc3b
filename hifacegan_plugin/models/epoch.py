"""The epoch that the training loop is in.

The host's loop passes the epoch only to its sampler. Checkpoints that are written at a signal or at the end of a
training need it, too, so the accommodation of the sampler records it here.
"""

from __future__ import annotations

_current = 0


def begin_epoch(epoch: int) -> None:
    """Record that the training loop begins an epoch, counted from 0."""
    global _current
    _current = epoch


def current_epoch() -> int:
    """Return the epoch that the training loop is in; 0 before the first."""
    return _current
