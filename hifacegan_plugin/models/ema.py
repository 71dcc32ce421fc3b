"""The exponential moving average (EMA) of a generator's weights."""

from __future__ import annotations

from typing import Any

import torch
from basicsr.archs import build_network
from torch import nn
from torch.nn.utils import parametrize


def build_average(network: nn.Module, options: dict[str, Any], device: torch.device) -> nn.Module:
    """Build the averaged generator, initially a copy of the generator.

    Args:
        network: the unwrapped generator.
        options: options of the generator, ``network_g``.
        device: device of the averaged generator.
    """
    average = build_network(options)
    if getattr(network, 'coarse_outputs', None):
        average.add_coarse_outputs()
    average.load_state_dict(network.state_dict())
    return average.to(device).eval().requires_grad_(False)


@torch.no_grad()
def update_ema(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Update the averaged weights, and the spectral norms that belong to them.

    Args:
        average: the averaged network, in ``eval()`` mode; changed in place.
        network: the trained network, of the same architecture.
        decay: weight of the previous average, from 0 to 1.
    """
    for averaged, parameter in zip(average.parameters(), network.parameters(), strict=True):
        averaged.lerp_(parameter, 1 - decay)
    buffers = dict(network.named_buffers())
    for name, buffer in average.named_buffers():
        if '.parametrizations.' not in name:  # for example, running statistics of batch norm
            buffer.copy_(buffers[name])
    for module in average.modules():
        if parametrize.is_parametrized(module, 'weight'):
            # Reading `.weight` in train mode runs one power iteration, which updates the norm.
            spectral_norm = module.get_submodule('parametrizations.weight')
            spectral_norm.train()
            _ = module.weight
            spectral_norm.eval()
