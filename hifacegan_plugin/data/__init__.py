"""Degradations and the data set that applies them.

Both are imported on first use. The degradations need neither torch nor the host. Registering the data set does not
import the degradations, whose registry (mmengine) takes 0.2 s to import.
"""

from importlib import import_module
from typing import Any

__all__ = ['DegradationDataset']


def __getattr__(name: str) -> Any:
    if name == 'DegradationDataset':
        return import_module('hifacegan_plugin.data.degradation_dataset').DegradationDataset
    if name == 'degradations':
        return import_module('hifacegan_plugin.data.degradations')
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
