"""What the checkpoints of a training hold, when they are written, and which are kept.

Their files hold tensors and plain values, which load without executing code.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from torch import Tensor, nn

import hifacegan_plugin
from hifacegan_plugin.models.checkpoint_files import delete_checkpoint, prune_checkpoints, write_checkpoint
from hifacegan_plugin.models.divergence import has_finite_weights

logger = logging.getLogger('basicsr.hifacegan_plugin')

MADE_BY = {'plugin_version': hifacegan_plugin.__version__}  # in each file

# By name, not wrapped: net_g and, where there are any, its average net_g_ema and net_d.
Networks = Mapping[str, nn.Module]


class Checkpoints:
    """The checkpoints of a training, as files that appear whole or not at all.

    Args:
        opt: options of the experiment; its files are in ``path: models`` and ``path: training_states``.
        keep_last: number of checkpoints to keep; 0 keeps all.

    Attributes:
        newest: iteration of the checkpoint written last, or resumed from; None before the first.
    """

    def __init__(self, opt: Mapping[str, Any], keep_last: int = 0) -> None:
        self.opt = opt
        self.models = Path(opt['path']['models'])
        self.states = Path(opt['path']['training_states'])
        self.keep_last = keep_last
        self.newest: int | None = None

    def write(self, iteration: int, networks: Networks, state: Mapping[str, Any], keep: set[int]) -> None:
        """Write the networks, then the training state that makes them a checkpoint; delete old ones.

        If weights are not finite or the disk is full, that is logged, and the previous checkpoint stays.

        Args:
            iteration: iteration of the checkpoint.
            networks: by name.
            state: what a training needs besides to go on; its options are added.
            keep: iterations of older checkpoints to keep besides the last ones.
        """
        if not _may_write(networks, f'checkpoint at iteration {iteration}'):
            return
        try:
            # An older checkpoint of this iteration could mix with this one.
            delete_checkpoint(self.models, self.states, iteration)
            self._write_networks(networks, iteration)
            of_this_training = {'options': json.loads(json.dumps(self.opt, default=str)), **MADE_BY}
            write_checkpoint({**state, **of_this_training}, self.states / f'{iteration}.state')
        except OSError as error:
            with suppress(OSError):  # leftovers are harmless: no training resumes without a state
                delete_checkpoint(self.models, self.states, iteration)
            logger.error(f'No checkpoint at iteration {iteration}: {error}. Training goes on.')
            return
        self.newest = iteration
        prune_checkpoints(self.models, self.states, self.keep_last, {iteration, *keep})

    def write_last_weights(self, networks: Networks) -> None:
        """Write the networks as ``<name>_latest.pth``, the result of the training, if all weights are finite.

        Raises:
            OSError: they cannot be written.
        """
        if not _may_write(networks, 'last weights'):
            return
        try:
            self._write_networks(networks, 'latest')
        except OSError as error:
            raise OSError(
                f'The last weights cannot be written ({error}). Make room; --auto_resume goes on from the last '
                'checkpoint and ends with them.'
            ) from error

    def _write_networks(self, networks: Networks, label: int | str) -> None:
        """Write a file for each network: its weights, those of its average, and the options that rebuild it."""
        for name in ('net_g', 'net_d'):
            if name in networks:
                kinds = {'params': name, 'params_ema': f'{name}_ema'}
                weights = {key: _weights(networks[kind]) for key, kind in kinds.items() if kind in networks}
                section = name.replace('net', 'network')
                content = {**weights, section: dict(self.opt[section]), **MADE_BY}
                write_checkpoint(content, self.models / f'{name}_{label}.pth')


def _weights(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.cpu() for name, value in network.state_dict().items()}


def _may_write(networks: Networks, what: str) -> bool:
    """Return whether all weights are finite; log an error if they are not."""
    is_finite = has_finite_weights(networks.values())
    if not is_finite:
        logger.error(f'No {what}: weights are not finite, the training diverged.')
    return is_finite
