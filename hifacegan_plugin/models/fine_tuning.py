"""Fine-tuning: learning rates and freezing for parts of a network."""

from __future__ import annotations

from typing import Any

from torch import nn

from hifacegan_plugin.schema.problem import OptionError


def freeze_parts(network: nn.Module, factors: dict[str, float]) -> None:
    """Freeze all parameters with a learning rate factor of 0.

    Args:
        network: the generator.
        factors: learning rate factors by name of a part, such as ``blocks.6``.

    Raises:
        ValueError: the network has no such part; the message lists its parts.
    """
    names = [name for name, _ in network.named_parameters()]
    for part in factors:
        if not any(name.startswith(f'{part}.') for name in names):
            parts = ', '.join(sorted({name.partition('.')[0] for name in names}))
            raise ValueError(f'train: lr_factors: the generator has no part {part!r}. It has: {parts}.')
    for name, parameter in network.named_parameters():
        if factor_of(name, factors) == 0:
            parameter.requires_grad_(False)


def factor_of(parameter: str, factors: dict[str, float]) -> float:
    """Return the factor of the innermost part that contains a parameter; 1 if there is none."""
    parts = [part for part in factors if parameter.startswith(f'{part}.')]
    return factors[max(parts, key=len)] if parts else 1


def parameter_groups(network: nn.Module, factors: dict[str, float]) -> list[dict[str, Any]]:
    """Group the parameters by their learning rate factor, without those with the factor 0.

    Returns:
        Groups for an optimiser: ``params`` and their ``factor``.

    Raises:
        OptionError: all factors are 0.
    """
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        groups.setdefault(factor_of(name, factors), []).append(parameter)
    if not any(groups):
        raise OptionError('train: lr_factors freezes the whole generator: leave a part of it trainable.')
    return [{'params': parameters, 'factor': factor} for factor, parameters in groups.items() if factor]
