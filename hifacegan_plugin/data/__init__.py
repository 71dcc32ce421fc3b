"""Degradations and the data set that applies them.

The data set is imported when it is asked for, so that the degradations can be used without torch and the host.
"""

from typing import Any

__all__ = ['DegradationDataset']


def __getattr__(name: str) -> Any:
    if name == 'DegradationDataset':
        from hifacegan_plugin.data.degradation_dataset import DegradationDataset

        return DegradationDataset
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
