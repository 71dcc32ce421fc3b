"""HiFaceGAN for BasicSR: the paper's network, its training and its data.

If BasicSR is already imported, importing this package registers everything with it, as in ``import basicsr,
hifacegan_plugin`` or through the first line of an options file. If this package is imported before BasicSR, call
:func:`register`. Restoring does not need BasicSR.
"""

import sys
from typing import Any

__all__ = ['Restorer', 'load_generator', 'register']
__version__ = '0.2.0'


def register() -> None:
    """Register networks, the dataset, losses, metrics and the model with BasicSR, and adapt BasicSR to this machine.

    It imports BasicSR. A second call does no harm.

    Raises:
        ImportError: if BasicSR is missing, or is a release that recent torchvision breaks.
    """
    from hifacegan_plugin import host

    host.register()


def __getattr__(name: str) -> Any:
    """Import ``Restorer`` and ``load_generator``, which need PyTorch, on first access."""
    if name == 'Restorer':
        from hifacegan_plugin.restore import Restorer

        return Restorer
    if name == 'load_generator':
        from hifacegan_plugin.weights import load_generator

        return load_generator
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')


if 'basicsr' in sys.modules:
    register()
