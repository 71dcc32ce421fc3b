"""The generator as training needs it, configured before it is moved to its device and wrapped."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from hifacegan_plugin.models.fine_tuning import freeze_parts, read_lr_factors
from hifacegan_plugin.models.progressive import check_progressive, halvings_at, set_phase


def configure_generator(network: nn.Module, train_opt: dict[str, Any]) -> None:
    """Configure a generator for training, in place, as the options under ``train`` ask.

    Parts are frozen (``lr_factors``), coarse outputs added and the first phase entered (``progressive``), and
    ``gradient_checkpointing``, ``channels_last`` and ``compile`` applied.

    Raises:
        ValueError: the network does not support an option, or options contradict each other.
    """
    factors = read_lr_factors(train_opt)
    freeze_parts(network, factors)
    milestones = train_opt.get('progressive')
    if milestones:
        check_progressive(network, milestones)
        network.add_coarse_outputs()
        set_phase(network, halvings_at(1, milestones), factors)
    if train_opt.get('gradient_checkpointing', False):
        if not hasattr(network, 'gradient_checkpointing'):
            raise ValueError(f'train: gradient_checkpointing: {type(network).__name__} does not support it.')
        network.gradient_checkpointing = True
    if train_opt.get('channels_last', False):
        network.to(memory_format=torch.channels_last)
    if train_opt.get('compile', False):
        if getattr(network, 'gradient_checkpointing', False):
            raise ValueError('train: compile and gradient_checkpointing do not work together: choose one.')
        network.compile()  # in place: the keys of the weights stay
