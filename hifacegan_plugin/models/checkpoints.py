"""When and how the checkpoints of a training are written, and which are kept."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from torch import nn

import hifacegan_plugin
from hifacegan_plugin.models.checkpoint_files import (
    delete_checkpoint,
    delete_unfinished,
    prune_checkpoints,
    write_checkpoint,
)

logger = logging.getLogger('basicsr.hifacegan_plugin')

Content = dict[str, Any]  # of a file


class Checkpoints:
    """The checkpoints of a training, as files that appear whole or not at all.

    Args:
        models: folder of the networks.
        states: folder of the training states.
        keep_last: number of checkpoints to keep; 0 keeps all.

    Attributes:
        newest: iteration of the checkpoint written last, or resumed from; None before the first.
    """

    def __init__(self, models: Path, states: Path, keep_last: int = 0) -> None:
        self.models = models
        self.states = states
        self.keep_last = keep_last
        self.newest: int | None = None

    def delete_unfinished(self) -> None:
        """Delete what a process that was killed while writing has left."""
        delete_unfinished(self.models, self.states)

    def write(self, iteration: int, networks: Mapping[str, Content], state: Content, keep: set[int]) -> None:
        """Write the networks, then the training state that makes them a checkpoint; delete old ones.

        If the disk is full, that is logged, and the previous checkpoint stays.

        Args:
            iteration: iteration of the checkpoint.
            networks: content of ``<name>_<iteration>.pth`` by name, e.g. ``net_g``.
            state: content of ``<iteration>.state``.
            keep: iterations of older checkpoints to keep besides the last ones.
        """
        try:
            # An older checkpoint of this iteration could mix with this one.
            delete_checkpoint(self.models, self.states, iteration)
            for name, content in networks.items():
                write_checkpoint(content, self.models / f'{name}_{iteration}.pth')
            write_checkpoint(state, self.states / f'{iteration}.state')
        except OSError as error:
            with suppress(OSError):  # leftovers are harmless: no training resumes without a state
                delete_checkpoint(self.models, self.states, iteration)
            logger.error(f'No checkpoint at iteration {iteration}: {error}. Training goes on.')
            return
        self.newest = iteration
        prune_checkpoints(self.models, self.states, self.keep_last, {iteration, *keep})

    def write_last_weights(self, networks: Mapping[str, Content]) -> None:
        """Write the networks as ``<name>_latest.pth``, the result of the training.

        Raises:
            OSError: they cannot be written.
        """
        try:
            for name, content in networks.items():
                write_checkpoint(content, self.models / f'{name}_latest.pth')
        except OSError as error:
            raise OSError(
                f'The last weights cannot be written ({error}). Make room; --auto_resume goes on from the last '
                'checkpoint and ends with them.'
            ) from error


def network_content(networks: Mapping[str, nn.Module], section: str, options: Mapping[str, Any]) -> Content:
    """Return the content of a network's file: its weights, and the options that rebuild it.

    Args:
        networks: the network as ``params`` and, where there is one, its average as ``params_ema``; not wrapped.
        section: name of its options, ``network_g`` or ``network_d``.
        options: those options.
    """
    content: Content = {
        key: {name: value.cpu() for name, value in network.state_dict().items()} for key, network in networks.items()
    }
    return {**content, section: dict(options), 'plugin_version': hifacegan_plugin.__version__}
