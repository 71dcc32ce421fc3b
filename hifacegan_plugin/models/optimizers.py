"""The optimisers that an options file can name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from hifacegan_plugin.schema.problem import Problem
from hifacegan_plugin.schema.registered import problems_of_call

NAMES = ('Adam', 'AdamW', 'Adamax', 'SGD', 'ASGD', 'RMSprop', 'Rprop')  # as the host knows them
OPTIMIZERS: dict[str, Any] = {name: getattr(torch.optim, name) for name in NAMES}
SUPPLIED = ('params',)  # arguments that do not come from the options


def problems_of_optimizer(where: str, options: dict[str, Any]) -> Iterator[Problem]:
    """Find an optimiser that does not exist, options that it does not take, and a rate that is missing."""
    yield from problems_of_call(where, options, OPTIMIZERS, SUPPLIED)
    if 'lr' not in options:
        yield Problem(f'{where}: lr is missing.', 'add it: the learning rate')
