"""Configuration of a generator for training, before it is moved to its device and wrapped."""

from __future__ import annotations

import torch
from torch import nn

from hifacegan_plugin.models.fine_tuning import freeze_parts
from hifacegan_plugin.models.objective import BYPRODUCT_LOSSES
from hifacegan_plugin.models.progressive import halvings_at, require_growing, set_phase
from hifacegan_plugin.schema.training import Train


def configure_generator(network: nn.Module, options: Train) -> None:
    """Configure a generator in place according to the options under ``train``.

    These are ``lr_factors`` (freezes parts), ``progressive`` (adds coarse outputs and enters the first phase),
    ``gradient_checkpointing``, ``channels_last`` and ``compile``.

    Raises:
        ValueError: the network does not support an option, or does not return an output that a loss needs.
    """
    _check_byproducts(network, options)
    factors = options.lr_factors or {}
    freeze_parts(network, factors)
    milestones = options.progressive
    if milestones:
        growing = require_growing(network)
        growing.add_coarse_outputs()
        set_phase(growing, halvings_at(1, milestones), factors)
    if options.gradient_checkpointing:
        if not hasattr(network, 'gradient_checkpointing'):
            raise ValueError(f'train: gradient_checkpointing: {type(network).__name__} does not support it.')
        network.gradient_checkpointing = True  # type: ignore[assignment]  # torch declares only modules and tensors
    if options.channels_last:
        network.to(memory_format=torch.channels_last)
    if options.compile:
        network.compile()  # in place, so the keys of the weights do not change


def _check_byproducts(network: nn.Module, options: Train) -> None:
    """Raise ValueError if a loss needs an additional output that the generator does not return."""
    given = getattr(network, 'byproducts', ())
    for name, (_, judged) in BYPRODUCT_LOSSES.items():
        missing = [part for part in judged if part not in (*given, 'gt')]
        if missing and getattr(options, name):
            raise ValueError(
                f'train: {name}: network_g ({type(network).__name__}) does not return {", ".join(missing)}: remove '
                f'{name}, or use a generator that returns it (docs/training.md).'
            )
