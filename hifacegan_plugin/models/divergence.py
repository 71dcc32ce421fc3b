"""Divergence: losses and weights that are NaN or infinite."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from torch import nn

from hifacegan_plugin.models.checkpoint_files import write_checkpoint

logger = logging.getLogger('basicsr.hifacegan_plugin')

DIVERGED_AFTER = 100  # batches in a row whose loss is not finite
BATCHES_TO_STUDY = 10  # written by each process at most
GO_BACK = 'Go on from the last checkpoint, with a lower learning rate or train: grad_clip.'


def has_finite_weights(networks: Iterable[nn.Module]) -> bool:
    """Return whether all weights of the networks are finite."""
    return all(parameter.isfinite().all() for network in networks for parameter in network.parameters())


class DivergenceGuard:
    """Writes batches with a loss that is not finite to files; skips them or stops the training.

    It gets the losses of all processes, so all processes act alike.

    Args:
        stop: whether to stop at the first such batch; else it is skipped, up to ``DIVERGED_AFTER`` in a row.
        folder: folder for the batches; made when there is one.
        rank: number of this process, part of the names of its files.
    """

    def __init__(self, stop: bool, folder: Path, rank: int) -> None:
        self.stop = stop
        self.folder = folder
        self.rank = rank
        self.in_a_row = 0

    def check(
        self, iteration: int, losses: dict[str, float], batch: dict[str, Any], networks: Iterable[nn.Module]
    ) -> bool:
        """Return whether all losses of an iteration are finite; if not, the caller has to skip the batch.

        Args:
            iteration: number of the iteration.
            losses: the losses by name.
            batch: its images and their paths.
            networks: the trained networks.

        Raises:
            FloatingPointError: a loss is not finite, and the training cannot or should not go on.
        """
        if all(map(math.isfinite, losses.values())):
            self.in_a_row = 0
            return True
        self.in_a_row += 1
        message = f'Iteration {iteration}: a loss is not finite ({losses}). {self._write(iteration, losses, batch)}'
        if not has_finite_weights(networks):
            raise FloatingPointError(f'{message} The weights are not finite any more. {GO_BACK}')
        if self.in_a_row == DIVERGED_AFTER:
            raise FloatingPointError(f'{message} These are {DIVERGED_AFTER} in a row. {GO_BACK}')
        if self.stop:
            raise FloatingPointError(
                f'{message} Lower the learning rate or set train: grad_clip; train: on_not_finite: skip goes on.'
            )
        logger.warning(f'{message} It is skipped.')
        return False

    def _write(self, iteration: int, losses: dict[str, float], batch: dict[str, Any]) -> str:
        """Write the batch unless enough are there; return a sentence that says where it is."""
        of_this_process = f'_rank{self.rank}.pth'
        if len(list(self.folder.glob(f'*{of_this_process}'))) >= BATCHES_TO_STUDY:
            return f'Its batch is not written: {self.folder} has {BATCHES_TO_STUDY} already.'
        try:
            self.folder.mkdir(parents=True, exist_ok=True)  # other machines have no folder of the experiment yet
            write_checkpoint({**batch, 'losses': losses}, self.folder / f'{iteration}{of_this_process}')
        except OSError as error:
            return f'Its batch cannot be written ({error}).'
        return f'Its batch is in {self.folder}.'
