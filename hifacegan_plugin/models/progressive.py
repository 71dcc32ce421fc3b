"""Progressive training: the generator first restores small images, and doubles their size in each phase.

Source: the reference implementation (arXiv 2005.05005, section 4.1), which adds a scale every 5 epochs.
"""

from __future__ import annotations

import logging

from torch import nn

from hifacegan_plugin.archs.csr.network import CSRNetwork
from hifacegan_plugin.archs.csr.paper import PaperCSR
from hifacegan_plugin.models.fine_tuning import freeze_parts

logger = logging.getLogger('basicsr.hifacegan_plugin')


def require_growing(network: nn.Module) -> PaperCSR:
    """Return the generator if it supports progressive training.

    Raises:
        ValueError: the generator is not a ``CSRGenerator`` with ``preset: paper``.
    """
    if not isinstance(network, PaperCSR):
        if isinstance(network, CSRNetwork):
            raise ValueError(f'train: progressive: network_g: preset: {network.preset} cannot grow: use preset: paper.')
        raise ValueError(f'train: progressive: {type(network).__name__} cannot grow, only CSRGenerator can.')
    return network


def halvings_at(iteration: int, milestones: list[int]) -> int:
    """Return how many times the output size is halved in an iteration."""
    return sum(iteration <= milestone for milestone in milestones)


def enter_phase(network: PaperCSR, iteration: int, milestones: list[int], lr_factors: dict[str, float]) -> bool:
    """Enter the phase of an iteration; return whether the phase has changed.

    Args:
        network: the generator, with coarse outputs.
        iteration: the next iteration.
        milestones: ``train: progressive``.
        lr_factors: ``train: lr_factors``.
    """
    halvings = halvings_at(iteration, milestones)
    if halvings == network.halvings:
        return False
    logger.info(f'Iteration {iteration}: the generator grows to 1/{2**halvings} of the size.')
    set_phase(network, halvings, lr_factors)
    return True


def set_phase(network: PaperCSR, halvings: int, lr_factors: dict[str, float]) -> None:
    """Make the network return images that are ``2^halvings`` times smaller, and freeze the parts that this skips.

    DistributedDataParallel would wait for the gradients of unused parameters.

    Args:
        network: the generator, with coarse outputs.
        halvings: how many times the output size is halved, 0 to 3.
        lr_factors: ``train: lr_factors``; parts with the factor 0 stay frozen.
    """
    network.halvings = halvings
    for block, level in zip(network.blocks, network.block_levels, strict=True):
        block.requires_grad_(level >= halvings)
    for output in (network.to_picture, network.coarse_outputs):
        output.requires_grad_(False)
    network.output_at(halvings).requires_grad_(True)
    freeze_parts(network, lr_factors)
