"""The state of all random generators of a process, as plain values that a checkpoint can hold."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def random_state() -> dict[str, Any]:
    """Return the state of Python's, NumPy's and PyTorch's global generators, the current GPU's included."""
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
    """Go on drawing where :func:`random_state` was taken."""
    random.setstate(state['python'])
    kind, keys, *rest = state['numpy']
    np.random.set_state((kind, np.array(keys, np.uint32), *rest))
    torch.set_rng_state(state['torch'].cpu())  # the host loads checkpoints onto the GPU
    if 'cuda' in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state['cuda'].cpu())


@contextmanager
def undisturbed_random_state() -> Iterator[None]:
    """Restore the state of the generators afterwards, whatever draws from them inside."""
    state = random_state()
    try:
        yield
    finally:
        restore_random_state(state)
