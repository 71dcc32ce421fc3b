"""The optimisers that options files can name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch.optim import Optimizer

from hifacegan_plugin.schema.problem import OptionError

NAMES = ('Adam', 'AdamW', 'Adamax', 'SGD', 'ASGD', 'RMSprop', 'Rprop')  # the same as in BasicSR
OPTIMIZERS: dict[str, Any] = {name: getattr(torch.optim, name) for name in NAMES}
SUPPLIED = ('params',)  # arguments that do not come from the options
FUSED = ('Adam', 'AdamW')  # one kernel updates all parameters by default, on CPUs and GPUs


def build_optimizer(where: str, options: Mapping[str, Any], groups: list[dict[str, Any]]) -> Optimizer:
    """Build an optimiser.

    Args:
        where: section of the options, for messages.
        options: ``type`` and the arguments of that class, which exist.
        groups: parameter groups: ``params`` and optionally the learning rate ``factor``.

    Raises:
        OptionError: the optimiser does not accept a value.
    """
    kind, arguments = options['type'], {key: value for key, value in options.items() if key != 'type'}
    if kind in FUSED:
        arguments.setdefault('fused', True)
    try:
        scaled = [{'params': group['params'], 'lr': arguments['lr'] * group.get('factor', 1)} for group in groups]
        return OPTIMIZERS[kind](scaled, **arguments)
    except (TypeError, ValueError) as error:  # optimisers raise them for invalid arguments
        raise OptionError(f'{where}: {kind}: {error}.') from error
