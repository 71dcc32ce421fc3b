"""The moving average of a generator's weights, which is validated and saved beside the trained one."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.utils import parametrize


@torch.no_grad()
def move_average(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Move the averaged network towards the trained one, and its spectral norm along with its weights.

    Args:
        average: changed in place; in ``eval()`` mode.
        network: of the same architecture.
        decay: how much of the average stays, from 0 to 1.
    """
    for averaged, parameter in zip(average.parameters(), network.parameters(), strict=True):
        averaged.lerp_(parameter, 1 - decay)
    buffers = dict(network.named_buffers())
    for name, buffer in average.named_buffers():
        if '.parametrizations.' not in name:  # running statistics and the like of other networks
            buffer.copy_(buffers[name])
    for module in average.modules():
        if parametrize.is_parametrized(module, 'weight'):
            # In train mode a look at the weight is one step of the power iteration that tracks its norm.
            module.parametrizations.weight.train()
            _ = module.weight
            module.parametrizations.weight.eval()
