"""Prerequisites of metrics: optional packages, and weights that are kept in PyTorch Hub's cache."""

from __future__ import annotations

import importlib
import pickle
from pathlib import Path
from types import ModuleType

import torch


class MetricUnavailableError(RuntimeError):
    """A package or a weights file that a metric needs is missing.

    The message is one line that names what is missing, where it comes from and where it goes, so that a caller can show
    it once and leave the metric's column empty.
    """


def require_package(name: str) -> ModuleType:
    """Import an optional package.

    Raises:
        MetricUnavailableError: it cannot be imported.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MetricUnavailableError(
            f'cannot import {name} ({error}): pip install "hifacegan-plugin[metrics]"'
        ) from error


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
