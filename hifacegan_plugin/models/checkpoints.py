"""The checkpoints of a training: their content, when they are written, and which are kept.

They contain only tensors and plain values, so they can be loaded without executing pickled code.
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

MADE_BY = {'plugin_version': hifacegan_plugin.__version__}  # stored in each file

# Unwrapped networks by name: net_g, and optionally its moving average net_g_ema and the discriminator net_d.
Networks = Mapping[str, nn.Module]


class Checkpoints:
    """Writes the checkpoints of a training and deletes old ones.

    Args:
        opt: options of the experiment; its files are in ``path: models`` and ``path: training_states``.
        keep_last: number of newest checkpoints to keep; 0 keeps all.

    Attributes:
        newest: iteration of the last checkpoint that was written or resumed; None before the first.
    """

    def __init__(self, opt: Mapping[str, Any], keep_last: int = 0) -> None:
        self.opt = opt
        self.models = Path(opt['path']['models'])
        self.states = Path(opt['path']['training_states'])
        self.keep_last = keep_last
        self.newest: int | None = None

    def write(self, iteration: int, networks: Networks, state: Mapping[str, Any], keep: set[int]) -> None:
        """Write a checkpoint: first the networks, then the training state. Delete old checkpoints.

        If a weight is not finite or the disk is full, log an error and keep the previous checkpoint.

        Args:
            iteration: iteration of the checkpoint.
            networks: the networks by name.
            state: the training state without the options, which are added.
            keep: iterations of additional checkpoints to keep.
        """
        if not _may_write(networks, f'checkpoint at iteration {iteration}'):
            return
        try:
            # Do not mix files with an older checkpoint of the same iteration.
            delete_checkpoint(self.models, self.states, iteration)
            self._write_networks(networks, iteration)
            of_this_training = {'options': json.loads(json.dumps(self.opt, default=str)), **MADE_BY}
            write_checkpoint({**state, **of_this_training}, self.states / f'{iteration}.state')
        except OSError as error:
            with suppress(OSError):  # files without a training state are harmless
                delete_checkpoint(self.models, self.states, iteration)
            logger.error(f'No checkpoint at iteration {iteration}: {error}. Training continues.')
            return
        self.newest = iteration
        prune_checkpoints(self.models, self.states, self.keep_last, {iteration, *keep})

    def write_last_weights(self, networks: Networks) -> None:
        """Write the result of the training, ``<name>_latest.pth``, if all weights are finite.

        Raises:
            OSError: the files cannot be written.
        """
        if not _may_write(networks, 'last weights'):
            return
        try:
            self._write_networks(networks, 'latest')
        except OSError as error:
            raise OSError(
                f'The last weights cannot be written ({error}). Free disk space and run again with --auto_resume: it '
                'resumes from the last checkpoint and writes them.'
            ) from error

    def _write_networks(self, networks: Networks, label: int | str) -> None:
        """Write a file for each network: its weights, its averaged weights, and the options to rebuild it."""
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
    """Return whether all weights are finite; otherwise, log an error."""
    is_finite = has_finite_weights(networks.values())
    if not is_finite:
        logger.error(f'No {what}: weights are not finite, the training has diverged.')
    return is_finite
