"""Prerequisites of metrics: packages, and weights in PyTorch Hub's cache."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch


class MetricUnavailableError(RuntimeError):
    """A package or weights file that a metric needs is missing; the message is one line that says how to get it."""


def load_hub_weights(url: str, *other_places: Path) -> dict[str, torch.Tensor]:
    """Load the file that ``torch.hub`` would download from ``url``, but never download it.

    Args:
        url: address of the file.
        other_places: paths to try before PyTorch Hub's cache, ``$TORCH_HOME/hub/checkpoints``.

    Returns:
        The state dict on the CPU, loaded with ``weights_only=True``.

    Raises:
        MetricUnavailableError: the file is missing or damaged.
    """
    in_cache = Path(torch.hub.get_dir()) / 'checkpoints' / url.rpartition('/')[2]
    path = next((place for place in (*other_places, in_cache) if place.is_file()), None)
    if path is None:
        raise MetricUnavailableError(f'no weights {in_cache.name}: download {url} to {in_cache}')
    try:
        return torch.load(path, map_location='cpu', weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise MetricUnavailableError(f'damaged weights {path}: download {url} again') from error
