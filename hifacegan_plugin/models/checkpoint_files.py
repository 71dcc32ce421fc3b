"""Writing and deleting the files of checkpoints.

A checkpoint consists of ``net_*_<iteration>.pth`` for the networks and ``<iteration>.state``, from which BasicSR
resumes. The state is written last and deleted first, so a checkpoint with a state is complete.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from hifacegan_plugin.system.files import whole_file


def write_checkpoint(content: dict[str, Any], path: Path) -> None:
    """Write a file of a checkpoint atomically, even in case of a power failure.

    Raises:
        OSError: the file cannot be written, for example because the disk is full.
    """
    try:
        with whole_file(path) as part:
            torch.save(content, part)
            _flush(part)
    except RuntimeError as error:  # torch.save raises it if the disk is full
        raise OSError(f'cannot write {path}: {error}') from error
    _flush(path.parent)


def delete_checkpoint(models: Path, states: Path, iteration: int) -> None:
    """Delete the files of a checkpoint; some or all of them may be missing."""
    (states / f'{iteration}.state').unlink(missing_ok=True)
    for network in models.glob(f'net_*_{iteration}.pth'):
        network.unlink(missing_ok=True)


def prune_checkpoints(models: Path, states: Path, keep_last: int, keep: set[int]) -> None:
    """Delete old and incomplete checkpoints.

    Args:
        models: folder of the networks, ``net_*_<iteration>.pth``.
        states: folder of the training states, ``<iteration>.state``.
        keep_last: number of newest checkpoints to keep; 0 deletes nothing.
        keep: iterations of additional checkpoints to keep.
    """
    if not keep_last:
        return
    complete = {int(state.stem) for state in states.glob('*.state') if state.stem.isdecimal()}
    labels = {network.stem.rpartition('_')[2] for network in models.glob('net_*.pth')}
    incomplete = {int(label) for label in labels if label.isdecimal()} - complete
    for iteration in sorted(incomplete.union(sorted(complete)[:-keep_last]) - keep):
        delete_checkpoint(models, states, iteration)


def delete_unfinished(*folders: Path) -> None:
    """Delete temporary files of killed processes."""
    for folder in folders:
        for part in folder.glob('.*.part.*'):
            part.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """Flush a file, or the names in a folder, to disk."""
    if os.name == 'nt' and path.is_dir():  # Windows cannot open folders
        return
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)  # on Windows, fsync needs write access
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
