"""When and how the checkpoints of a training are written, and which are kept."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from torch import nn

from hifacegan_plugin.models.checkpoint_contents import network_files, state_file
from hifacegan_plugin.models.checkpoint_files import (
    delete_checkpoint,
    delete_unfinished,
    prune_checkpoints,
    write_checkpoint,
)
from hifacegan_plugin.models.divergence import has_finite_weights

logger = logging.getLogger('basicsr.hifacegan_plugin')

Networks = Mapping[str, nn.Module]  # by their names, not wrapped


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

    def delete_unfinished(self) -> None:
        """Delete what a process that was killed while writing has left."""
        delete_unfinished(self.models, self.states)

    def write(self, iteration: int, networks: Networks, state: Mapping[str, Any], keep: set[int]) -> None:
        """Write the networks, then the training state that makes them a checkpoint; delete old ones.

        If weights are not finite or the disk is full, that is logged, and the previous checkpoint stays.

        Args:
            iteration: iteration of the checkpoint.
            networks: as for :func:`~hifacegan_plugin.models.checkpoint_contents.network_files`.
            state: what a training needs besides to go on.
            keep: iterations of older checkpoints to keep besides the last ones.
        """
        if not _may_write(networks, f'checkpoint at iteration {iteration}'):
            return
        try:
            # An older checkpoint of this iteration could mix with this one.
            delete_checkpoint(self.models, self.states, iteration)
            for name, content in network_files(networks, self.opt).items():
                write_checkpoint(content, self.models / f'{name}_{iteration}.pth')
            write_checkpoint(state_file(state, self.opt), self.states / f'{iteration}.state')
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
            for name, content in network_files(networks, self.opt).items():
                write_checkpoint(content, self.models / f'{name}_latest.pth')
        except OSError as error:
            raise OSError(
                f'The last weights cannot be written ({error}). Make room; --auto_resume goes on from the last '
                'checkpoint and ends with them.'
            ) from error


def _may_write(networks: Networks, what: str) -> bool:
    """Return whether all weights are finite; log an error if they are not."""
    is_finite = has_finite_weights(networks.values())
    if not is_finite:
        logger.error(f'No {what}: weights are not finite, the training diverged.')
    return is_finite
