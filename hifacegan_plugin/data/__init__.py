"""Degradations and the data set that applies them.

The data set is imported on first use, because the degradations need neither torch nor the host.
"""

from importlib import import_module
from typing import Any

__all__ = ['DegradationDataset']


def __getattr__(name: str) -> Any:
    if name == 'DegradationDataset':
        return import_module('hifacegan_plugin.data.degradation_dataset').DegradationDataset
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
