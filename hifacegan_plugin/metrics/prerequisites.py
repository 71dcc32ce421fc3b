"""Prerequisites of metrics, first of all weights that are kept in PyTorch Hub's cache."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch


class MetricUnavailableError(RuntimeError):
    """A package or a weights file that a metric needs is missing.

    The message is one line that names what is missing, where it comes from and where it goes, so that a caller can show
    it once and leave the metric's column empty.
    """


def load_hub_weights(url: str, *other_places: Path) -> dict[str, torch.Tensor]:
    """Load the file that ``torch.hub`` would download from `url`, without ever downloading it.

    Args:
        url: where the file is published.
        other_places: paths to try before PyTorch Hub's cache, ``$TORCH_HOME/hub/checkpoints``.

    Returns:
        The state dict, on the CPU. No pickled code is run.

    Raises:
        MetricUnavailableError: the file is not found, or is damaged.
    """
    in_cache = Path(torch.hub.get_dir()) / 'checkpoints' / url.rpartition('/')[2]
    path = next((place for place in (*other_places, in_cache) if place.is_file()), None)
    if path is None:
        raise MetricUnavailableError(f'no weights {in_cache.name}: download {url} to {in_cache}')
    try:
        return torch.load(path, map_location='cpu', weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise MetricUnavailableError(f'damaged weights {path}: download {url} again') from error
