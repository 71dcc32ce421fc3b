"""Resuming of optimisers from a training state, with options that may have changed."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from hifacegan_plugin.models.fine_tuning import factor_of

logger = logging.getLogger('basicsr.hifacegan_plugin')

# Keys of a parameter group that are not options. ``lr`` is the scheduled rate; ``initial_lr`` is that of the options.
NOT_OPTIONS = ('params', 'lr')
START_OVER = 'or start over from its weights (path: pretrain_network_g, without resume_state).'


def resume_optimizers(optimizers: list[Optimizer], states: list[dict[str, Any]]) -> None:
    """Load the states of the parameters, such as moments; keep the current options and log those that have changed.

    Args:
        optimizers: the generator's optimiser and, with ``gan_opt``, the discriminator's.
        states: their states in the resumed training.

    Raises:
        ValueError: the states belong to other optimisers or parameter groups; the message names the options to restore.
    """
    if len(states) != len(optimizers):
        raise ValueError(
            f'The resumed state has {len(states)} optimisers, but the options need {len(optimizers)}: train: gan_opt '
            f'was {"added" if len(optimizers) > len(states) else "removed"} since. Undo that, {START_OVER}'
        )
    for section, optimizer, state in zip(('optim_g', 'optim_d'), optimizers, states):
        groups = optimizer.state_dict()['param_groups']
        if [len(group['params']) for group in groups] != [len(group['params']) for group in state['param_groups']]:
            raise ValueError(
                f'train: {section}: the resumed state belongs to other parameters. Use its network '
                f'and its lr_factors, {START_OVER}'
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
                f'of each parameter, which the resumed state does not have. Use its optimiser, {START_OVER}'
            )
        optimizer.load_state_dict({'state': state['state'], 'param_groups': groups})
        _log_what_differs(section, groups, state['param_groups'])


def check_lr_factors(network: nn.Module, state: Mapping[str, Any], now: dict[str, float]) -> None:
    """Check that ``train: lr_factors`` groups the parameters as in the resumed training; the factors may differ.

    Args:
        network: the generator.
        state: the resumed state; not checked if it contains no options, as when BasicSR has written it.
        now: current factors by name of a part.

    Raises:
        ValueError: the groups differ.
    """
    if 'options' not in state:
        return
    then = state['options']['train'].get('lr_factors') or {}
    pairs = {(factor_of(name, then), factor_of(name, now)) for name, _ in network.named_parameters()}
    alike = len(pairs) == len({first for first, _ in pairs}) == len({second for _, second in pairs})
    if not alike or any((first == 0) != (second == 0) for first, second in pairs):
        raise ValueError(
            f'train: lr_factors: {now} groups the parameters differently from {then} in the resumed training. Change '
            f'only the factors, {START_OVER}'
        )


def _state_keys(optimizer: Optimizer) -> set[str]:
    """Return the names of an optimiser's state of a parameter after a step, such as ``exp_avg``."""
    options = {key: value for key, value in optimizer.param_groups[0].items() if key != 'params'}
    parameter = nn.Parameter(torch.zeros(1))
    parameter.grad = torch.zeros(1)
    kind: Any = type(optimizer)
    copy = kind([{**options, 'params': [parameter]}], lr=options['lr'])
    copy.step()
    return set(copy.state[parameter])


def _log_what_differs(section: str, groups: list[dict[str, Any]], before: list[dict[str, Any]]) -> None:
    """Log the options of an optimiser that have changed."""
    for now, then in zip(groups, before):
        for key, value in now.items():
            if key not in NOT_OPTIONS and key in then and then[key] != value:
                name = key.removeprefix('initial_')
                logger.info(f'train: {section}: {name} changes from {then[key]} to {value}.')
