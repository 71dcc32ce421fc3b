"""Resuming optimisers from a training state under options that may have changed."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from hifacegan_plugin.models.fine_tuning import factor_of

logger = logging.getLogger('basicsr.hifacegan_plugin')

# Keys of a parameter group that are no options: ``lr`` is the scheduled rate, ``initial_lr`` that of the options.
NOT_OPTIONS = ('params', 'lr')
START_AFRESH = 'or start afresh from its weights (path: pretrain_network_g, without resume_state).'


def resume_optimizers(optimizers: list[Optimizer], states: list[dict[str, Any]]) -> None:
    """Load the state that optimisers keep of each parameter; their options stay, and what differs is logged.

    Args:
        optimizers: the optimisers that the options ask for: the generator's and, with ``gan_opt``, the discriminator's.
        states: their states in the training that is resumed.

    Raises:
        ValueError: the states are of other optimisers or other groups of parameters; names the options to restore.
    """
    if len(states) != len(optimizers):
        raise ValueError(
            f'The state that is resumed has {len(states)} optimisers, the options ask for {len(optimizers)}: train: '
            f'gan_opt was {"added" if len(optimizers) > len(states) else "taken out"} since. Undo that, {START_AFRESH}'
        )
    for section, optimizer, state in zip(('optim_g', 'optim_d'), optimizers, states):
        groups = optimizer.state_dict()['param_groups']
        if [len(group['params']) for group in groups] != [len(group['params']) for group in state['param_groups']]:
            raise ValueError(
                f'train: {section}: the resumed state belongs to other parameters. Use its network '
                f'and its lr_factors, {START_AFRESH}'
            )
        missing = {
            name
            for of_parameter in state['state'].values()
            if of_parameter
            for name in _state_keys(optimizer) - set(of_parameter)
        }
        if missing:
            raise ValueError(
                f'train: {section}: {type(optimizer).__name__} with these options needs {", ".join(sorted(missing))} '
                f'of each parameter, which the resumed state does not have. Use its optimiser, {START_AFRESH}'
            )
        optimizer.load_state_dict({'state': state['state'], 'param_groups': groups})
        _log_what_differs(section, groups, state['param_groups'])


def check_lr_factors(network: nn.Module, state: Mapping[str, Any], now: dict[str, float]) -> None:
    """Refuse ``train: lr_factors`` that group the parameters differently from the resumed training.

    Args:
        network: the generator.
        state: that is resumed; one that the host wrote holds no options, and is accepted.
        now: the factors by name of a part.

    Raises:
        ValueError: they do; other factors of the same parts are accepted.
    """
    if 'options' not in state:
        return
    then = state['options']['train'].get('lr_factors') or {}
    pairs = {(factor_of(name, then), factor_of(name, now)) for name, _ in network.named_parameters()}
    alike = len(pairs) == len({first for first, _ in pairs}) == len({second for _, second in pairs})
    if not alike or any((first == 0) != (second == 0) for first, second in pairs):
        raise ValueError(
            f'train: lr_factors: {now} groups the parameters otherwise than {then}, which the state that '
            f'is resumed was trained with. Change the factors alone, {START_AFRESH}'
        )


def _state_keys(optimizer: Optimizer) -> set[str]:
    """Return the names of the state that an optimiser with these options keeps of a parameter after a step."""
    options = {key: value for key, value in optimizer.param_groups[0].items() if key != 'params'}
    parameter = nn.Parameter(torch.zeros(1))
    parameter.grad = torch.zeros(1)
    kind: Any = type(optimizer)
    twin = kind([{**options, 'params': [parameter]}], lr=options['lr'])
    twin.step()
    return set(twin.state[parameter])


def _log_what_differs(section: str, groups: list[dict[str, Any]], before: list[dict[str, Any]]) -> None:
    """Log which options of an optimiser have changed."""
    for now, then in zip(groups, before):
        for key, value in now.items():
            if key not in NOT_OPTIONS and key in then and then[key] != value:
                name = key.removeprefix('initial_')
                logger.info(f'train: {section}: {name} is {value} from here on, it was {then[key]}.')
