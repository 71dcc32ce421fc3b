"""Detection of divergence: losses and weights that are NaN or infinite."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from hifacegan_plugin.models.checkpoint_files import write_checkpoint

logger = logging.getLogger('basicsr.hifacegan_plugin')

DIVERGED_AFTER = 100  # successive batches with a loss that is not finite
MAX_WRITTEN_BATCHES = 10  # of each process
GO_BACK = 'Continue from the last checkpoint, with a lower learning rate or train: grad_clip.'


def has_finite_weights(networks: Iterable[nn.Module]) -> bool:
    """Return whether all weights of the networks are finite."""
    return all(parameter.isfinite().all() for network in networks for parameter in network.parameters())


class DivergenceGuard:
    """Writes batches with a loss that is not finite to files, and either skips them or stops the training.

    Losses are averaged over all processes beforehand, so all processes decide alike.

    Args:
        stop: whether to stop at the first such batch; otherwise, skip up to ``DIVERGED_AFTER`` batches in a row.
        folder: folder for the batches; created when needed.
        rank: rank of this process, part of its file names.
        networks: the trained networks.
    """

    def __init__(self, stop: bool, folder: Path, rank: int, networks: Sequence[nn.Module]) -> None:
        self.networks = networks
        self.stop = stop
        self.folder = folder
        self.rank = rank
        self.in_a_row = 0

    def check(self, iteration: int, losses: dict[str, float], batch: dict[str, Any]) -> bool:
        """Return whether all losses of an iteration are finite; otherwise, the caller has to skip the batch.

        Args:
            iteration: number of the iteration.
            losses: the losses by name.
            batch: images of the batch and their paths.

        Raises:
            FloatingPointError: a loss is not finite, and the training cannot continue or ``stop`` is set.
        """
        if all(map(math.isfinite, losses.values())):
            self.in_a_row = 0
            return True
        self.in_a_row += 1
        message = f'Iteration {iteration}: a loss is not finite ({losses}). {self._write(iteration, losses, batch)}'
        if not has_finite_weights(self.networks):
            raise FloatingPointError(f'{message} The weights are no longer finite. {GO_BACK}')
        if self.in_a_row == DIVERGED_AFTER:
            raise FloatingPointError(f'{message} This happened {DIVERGED_AFTER} times in a row. {GO_BACK}')
        if self.stop:
            raise FloatingPointError(
                f'{message} Lower the learning rate or set train: grad_clip. To skip such batches, set train: '
                'on_not_finite: skip.'
            )
        logger.warning(f'{message} The batch is skipped.')
        return False

    def _write(self, iteration: int, losses: dict[str, float], batch: dict[str, Any]) -> str:
        """Write the batch unless ``MAX_WRITTEN_BATCHES`` exist; return a sentence that says where it is."""
        of_this_process = f'_rank{self.rank}.pth'
        if len(list(self.folder.glob(f'*{of_this_process}'))) >= MAX_WRITTEN_BATCHES:
            return f'Its batch is not written: {self.folder} already has {MAX_WRITTEN_BATCHES}.'
        try:
            self.folder.mkdir(parents=True, exist_ok=True)  # on other machines, the experiment has no folder yet
            write_checkpoint({**batch, 'losses': losses}, self.folder / f'{iteration}{of_this_process}')
        except OSError as error:
            return f'Its batch cannot be written ({error}).'
        return f'Its batch is in {self.folder}.'
