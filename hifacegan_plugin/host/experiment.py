"""The folder of an experiment: whether a state to resume is of it, its lock, and restoring its name.

The host renames an existing folder, begins its log in a new one, and only then reads options, data and weights.
"""

from __future__ import annotations

import atexit
import glob
import pickle
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import torch

from hifacegan_plugin.system.locks import InUseError, take

_locks: dict[Path, IO[str]] = {}  # lock files by their paths, open as long as this process lives
_renamed: list[tuple[Path, Path]] = []  # folders that this start renamed: their path before, their path now


def check_resume_state(opt: dict[str, Any]) -> None:
    """Refuse a ``path: resume_state`` that is no training state, or whose networks are not in the experiment's folder.

    Raises:
        ValueError: it cannot be resumed from; says what the file is, and what to write instead.
    """
    file = opt['path'].get('resume_state')
    if not file:
        return
    where = f'path: resume_state: {file}'
    try:
        state = torch.load(file, map_location='cpu', weights_only=True, mmap=True)
    except FileNotFoundError as error:
        raise ValueError(f'{where} does not exist: correct the path, or write ~ to start afresh.') from error
    except (OSError, EOFError, RuntimeError, pickle.UnpicklingError) as error:
        raise ValueError(f'{where} is damaged or not a training state ({str(error).splitlines()[0]}).') from error
    if not isinstance(state, dict) or not {'iter', 'epoch', 'optimizers', 'schedulers'} <= set(state):
        raise ValueError(
            f'{where} is not a training state: name a .state file of training_states/. To start afresh '
            'from weights, name them as pretrain_network_g.'
        )
    label = f'{state["iter"]:.0f}'
    networks = ['g', 'd'] if opt['train'].get('gan_opt') else ['g']
    files = [Path(opt['path']['models'], f'net_{network}_{label}.pth') for network in networks]
    missing = [str(network) for network in files if not network.is_file()]
    if missing:
        raise ValueError(
            f'{where} needs {" and ".join(missing)}, which does not exist. Set name to that of the '
            'experiment that wrote the state, or start afresh from its weights: pretrain_network_g, '
            'without resume_state.'
        )


def newest_state(opt: dict[str, Any]) -> Path | None:
    """Return the training state of the experiment with the most iterations; None if it has none."""
    states = [file for file in Path(opt['path']['training_states']).glob('*.state') if file.stem.isdecimal()]
    return max(states, key=lambda file: int(file.stem), default=None)


def lock(folder: Path) -> None:
    """Lock an experiment's folder for this process until it ends, however it ends.

    The lock is held on ``.NAME.lock`` beside the folder, because the folder may be renamed. Child processes do not
    inherit it. Where the file system supports no locks, a message says so, and nothing is locked.

    Raises:
        RuntimeError: another process trains or tests in the folder; names its machine and process id.
        OSError: the lock file cannot be written.
    """
    path = folder.parent.resolve() / f'.{folder.name}.lock'
    if path in _locks:
        return
    try:
        _locks[path] = take(path)
    except InUseError as owner:
        raise RuntimeError(
            f'{folder} is in use: {owner} writes into it. Wait for it, stop it, or set another name.'
        ) from owner


@contextmanager
def renaming_for_a_start(folder: Path) -> Iterator[None]:
    """Remember how the host renames the folder inside the block, until :func:`training_began` is called.

    If the process ends before, other than by SIGKILL, the folder's name is restored.
    """
    before = folder.stat().st_ino if folder.exists() else None
    yield
    for archived in folder.parent.glob(f'{glob.escape(folder.name)}_archived_*'):
        if archived.stat().st_ino == before:
            if not _renamed:
                atexit.register(_restore_names)
                _exit_in_order_on_signals()
            _renamed.append((folder, archived))


def training_began() -> None:
    """Record that the first iteration is done: what was renamed keeps its new name."""
    _renamed.clear()


def _restore_names() -> None:
    """Restore the names of the renamed folders, unless the new ones hold more than a log and options."""
    if any(file.is_file() for folder, _ in _renamed for file in folder.glob('*/**/*')):
        return
    for folder, archived in _renamed:
        shutil.rmtree(folder, ignore_errors=True)
        archived.rename(folder)
        print(f'Training did not begin: {archived} is {folder} again.', file=sys.stderr)
    _renamed.clear()


def _exit_in_order_on_signals() -> None:
    """Let a signal that would end the process at once run what is registered with ``atexit`` first."""
    from hifacegan_plugin.models.stop_signal import STOPPING

    for number in STOPPING:
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, lambda number, _: sys.exit(128 + number))
