"""HiFaceGAN for BasicSR: the paper's network, its training and its data.

Where BasicSR is imported already, importing the package registers everything with it: ``import basicsr,
hifacegan_plugin`` does, and so does the first line of an options file. Where the package is imported before BasicSR,
call :func:`register`. Restoring needs no BasicSR.
"""

import sys

__all__ = ['register']
__version__ = '0.1.0'


def register() -> None:
    """Register networks, the dataset, losses, metrics and the model with BasicSR, and adapt BasicSR to this machine.

    It imports BasicSR. A second call does no harm.

    Raises:
        ImportError: if BasicSR is missing, or is a release that recent torchvision breaks.
    """
    from hifacegan_plugin import host

    host.register()


if 'basicsr' in sys.modules:
    register()
