"""Progressive training: the generator learns small images first, and twice the size in each phase that follows.

Source: the reference implementation's training phases (arXiv 2005.05005, section 4.1): a scale every 5 epochs.
"""

from __future__ import annotations

import logging

from torch import nn

from hifacegan_plugin.archs.csr.network import CSRNetwork
from hifacegan_plugin.archs.csr.paper import PaperCSR
from hifacegan_plugin.models.fine_tuning import freeze_parts

logger = logging.getLogger('basicsr.hifacegan_plugin')


def require_growing(network: nn.Module) -> PaperCSR:
    """Return the generator if it can grow.

    Raises:
        ValueError: the generator is no ``CSRGenerator`` of ``preset: paper``.
    """
    if not isinstance(network, PaperCSR):
        if isinstance(network, CSRNetwork):
            raise ValueError(f'train: progressive: network_g: preset: {network.preset} does not grow: take it out.')
        raise ValueError(f'train: progressive: {type(network).__name__} cannot grow, only CSRGenerator can.')
    return network


def halvings_at(iteration: int, milestones: list[int]) -> int:
    """Return how many times the size of the output is halved at an iteration."""
    return sum(iteration <= milestone for milestone in milestones)


def enter_phase(network: PaperCSR, iteration: int, milestones: list[int], lr_factors: dict[str, float]) -> bool:
    """Make the network train what the phase of an iteration needs; return whether that is another phase than before.

    Args:
        network: the generator, with its coarse outputs.
        iteration: the iteration that is about to run.
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
    """Make the network return images ``2^halvings`` times smaller, and train only what they need.

    DistributedDataParallel would wait for the gradients of parameters that take no part.

    Args:
        network: the generator, with its coarse outputs.
        halvings: how many times the size is halved, 0 to 3.
        lr_factors: ``train: lr_factors``; parts with the factor 0 stay frozen.
    """
    network.halvings = halvings
    for block, level in zip(network.blocks, network.block_levels, strict=True):
        block.requires_grad_(level >= halvings)
    for output in (network.to_picture, network.coarse_outputs):
        output.requires_grad_(False)
    network.output_at(halvings).requires_grad_(True)
    freeze_parts(network, lr_factors)
