"""Fine-tuning: learning rates per module, freezing."""

from __future__ import annotations

from typing import Any

from torch import nn

from hifacegan_plugin.schema.problem import OptionError


def freeze_parts(network: nn.Module, factors: dict[str, float]) -> None:
    """Freeze the parameters of a network whose learning rate has the factor 0.

    Args:
        network: the generator.
        factors: factor of the learning rate by name of a part, e.g. ``blocks.6``.

    Raises:
        ValueError: the network has no such part; names those that it has.
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
    """Return the factor of the smallest part that a parameter belongs to; 1 if it belongs to none."""
    parts = [part for part in factors if parameter.startswith(f'{part}.')]
    return factors[max(parts, key=len)] if parts else 1


def parameter_groups(network: nn.Module, factors: dict[str, float]) -> list[dict[str, Any]]:
    """Group the parameters by the factor of their learning rate; 0 leaves them out.

    Returns:
        Groups for an optimiser: ``params``, and the ``factor`` of their learning rate.

    Raises:
        OptionError: all are left out.
    """
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        groups.setdefault(factor_of(name, factors), []).append(parameter)
    if not any(groups):
        raise OptionError('train: lr_factors freezes the whole generator: leave a part of it trainable.')
    return [{'params': parameters, 'factor': factor} for factor, parameters in groups.items() if factor]
