"""Initial weights of a network."""

from __future__ import annotations

from collections.abc import Collection

from torch import nn

INITS = ('xavier', 'reference', 'pytorch')


def init_weights(network: nn.Module, init: str, spectral: Collection[nn.Module] = ()) -> None:
    """Draw the weights of convolutions and linear layers from Xavier's normal distribution with gain 0.02.

    Biases are set to zero.

    Args:
        network: the network whose convolutions are initialised.
        init: one of :data:`INITS`; ``pytorch`` keeps PyTorch's initial weights everywhere.
        spectral: convolutions that get spectral normalisation; ``reference`` keeps PyTorch's initial weights there.
    """
    if init == 'pytorch':
        return
    as_built = spectral if init == 'reference' else ()
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            if module not in as_built:
                nn.init.xavier_normal_(module.weight, gain=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
