"""Checkpoints on disk: files that appear whole or not at all, and the removal of old ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from hifacegan_plugin.atomic import whole_file


def write_checkpoint(content: dict[str, Any], path: Path) -> None:
    """Write a checkpoint; it appears under its name whole or not at all.

    Raises:
        OSError: if it cannot be written, e.g. because the disk is full.
    """
    try:
        with whole_file(path) as part:
            torch.save(content, part)
    except RuntimeError as error:  # what torch's zip writer makes of a full disk
        raise OSError(f'cannot write {path}: {error}') from error


def prune_checkpoints(models: Path, states: Path, keep_last: int, best: set[int]) -> None:
    """Delete all checkpoints but the newest ``keep_last`` and those of the iterations ``best``.

    Args:
        models: folder of the networks, ``net_*_<iteration>.pth``.
        states: folder of the training states, ``<iteration>.state``.
        keep_last: how many to keep, from 1 up; 0 keeps all.
        best: iterations to keep besides.
    """
    iterations = sorted(int(state.stem) for state in states.glob('*.state'))
    for iteration in iterations[:-keep_last] if keep_last else []:
        if iteration not in best:
            # The state goes first, so that nobody resumes from a checkpoint that is being deleted.
            (states / f'{iteration}.state').unlink()
            for network in models.glob(f'net_*_{iteration}.pth'):
                network.unlink()
