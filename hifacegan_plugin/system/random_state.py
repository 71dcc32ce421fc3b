"""Save and restore the states of the global random generators. Checkpoints can store these states."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def random_state() -> dict[str, Any]:
    """Return the states of the global generators of Python, NumPy, PyTorch and the current GPU."""
    numpy_state: Any = np.random.get_state()
    kind, keys, *rest = numpy_state
    state: dict[str, Any] = {
        'python': random.getstate(),
        'numpy': (kind, keys.tolist(), *rest),
        'torch': torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        state['cuda'] = torch.cuda.get_rng_state()
    return state


def restore_random_state(state: dict[str, Any]) -> None:
    """Set the global generators to the states that :func:`random_state` returned."""
    random.setstate(state['python'])
    kind, keys, *rest = state['numpy']
    np.random.set_state((kind, np.array(keys, np.uint32), *rest))
    torch.set_rng_state(state['torch'].cpu())  # the host loads checkpoints onto the GPU
    if 'cuda' in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state['cuda'].cpu())


@contextmanager
def undisturbed_random_state() -> Iterator[None]:
    """Restore the states of the global generators after the block."""
    state = random_state()
    try:
        yield
    finally:
        restore_random_state(state)
