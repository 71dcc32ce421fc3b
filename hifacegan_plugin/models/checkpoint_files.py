"""The files of checkpoints: written whole or not at all, and deleted when they are old.

A checkpoint is a set of files: ``net_*_<iteration>.pth`` for the networks, and ``<iteration>.state``, which the host
looks for to resume. The state is written last and deleted first: where it stands, the set is whole.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from hifacegan_plugin.system.files import whole_file


def write_checkpoint(content: dict[str, Any], path: Path) -> None:
    """Write a file of a checkpoint; it appears under its name whole or not at all, even if the machine loses power.

    Raises:
        OSError: it cannot be written, e.g. because the disk is full.
    """
    try:
        with whole_file(path) as part:
            torch.save(content, part)
            _flush(part)
    except RuntimeError as error:  # what torch's zip writer makes of a full disk
        raise OSError(f'cannot write {path}: {error}') from error
    _flush(path.parent)


def delete_checkpoint(models: Path, states: Path, iteration: int) -> None:
    """Delete the files of a checkpoint, as many as there are."""
    (states / f'{iteration}.state').unlink(missing_ok=True)
    for network in models.glob(f'net_*_{iteration}.pth'):
        network.unlink(missing_ok=True)


def prune_checkpoints(models: Path, states: Path, keep_last: int, keep: set[int]) -> None:
    """Delete all checkpoints but the newest ``keep_last`` and those of the iterations ``keep``.

    Incomplete checkpoints, whose writing or deletion was interrupted, are deleted, too.

    Args:
        models: folder of the networks, ``net_*_<iteration>.pth``.
        states: folder of the training states, ``<iteration>.state``.
        keep_last: number of checkpoints to keep, from 1 up; 0 keeps all.
        keep: iterations whose checkpoints are kept besides.
    """
    if not keep_last:
        return
    whole = {int(state.stem) for state in states.glob('*.state') if state.stem.isdecimal()}
    labels = {network.stem.rpartition('_')[2] for network in models.glob('net_*.pth')}
    remains = {int(label) for label in labels if label.isdecimal()} - whole
    for iteration in sorted(remains.union(sorted(whole)[:-keep_last]) - keep):
        delete_checkpoint(models, states, iteration)


def delete_unfinished(*folders: Path) -> None:
    """Delete the temporary files that killed processes left behind."""
    for folder in folders:
        for part in folder.glob('.*.part.*'):
            part.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    if os.name == 'nt' and path.is_dir():  # Windows opens no folders
        return
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)  # Windows flushes what is open for writing
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
