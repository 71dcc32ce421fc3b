"""The folder of an experiment: check the state to resume from, lock the folder, and restore its name.

The host renames an existing folder and starts its log in a new one before it reads data and weights.
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

from hifacegan_plugin.schema.problem import Problem
from hifacegan_plugin.system.files import check_folder
from hifacegan_plugin.system.locks import InUseError, take

_locks: dict[Path, IO[str]] = {}  # lock files by path, open until this process ends
_renamed: list[tuple[Path, Path]] = []  # folders renamed by this process: old path, new path


def folder_option(opt: dict[str, Any]) -> str:
    """Return the option under ``path`` that names the folder of a training or of the results of a test."""
    return 'experiments_root' if opt['is_train'] else 'results_root'


def problems_of_folders(opt: dict[str, Any]) -> Iterator[Problem]:
    """Find folders of a training or test that cannot be made or written to."""
    for option in ('experiments_root', 'results_root'):  # the host makes both, although it writes into one
        if opt['path'].get(option):
            yield from problems_of_folder(f'path: {option}', Path(opt['path'][option]))


def problems_of_folder(option: str, folder: Path) -> Iterator[Problem]:
    """See :func:`~hifacegan_plugin.system.files.check_folder`."""
    try:
        check_folder(option, folder)
    except ValueError as error:
        yield Problem(f'{error}', f'correct {option}')


def problems_of_resume_state(opt: dict[str, Any]) -> Iterator[Problem]:
    """Check that ``path: resume_state`` is a training state and its networks are in the experiment's folder."""
    file = opt['path'].get('resume_state')
    if not file:
        return
    where = f'path: resume_state: {file}'
    try:
        state = torch.load(file, map_location='cpu', weights_only=True, mmap=True)
    except FileNotFoundError:
        yield Problem(f'{where} does not exist.', 'correct the path, or set ~ to start a new training')
        return
    except (OSError, EOFError, RuntimeError, pickle.UnpicklingError) as error:
        reason = str(error).partition('\n')[0]
        yield Problem(f'{where} is damaged or not a training state ({reason}).', 'name another .state file, or set ~')
        return
    if not isinstance(state, dict) or not {'iter', 'epoch', 'optimizers', 'schedulers'} <= set(state):
        yield Problem(
            f'{where} is not a training state.',
            'name a .state file of training_states/, or start a new training from weights: set pretrain_network_g',
        )
        return
    label = f'{state["iter"]:.0f}'
    networks = ['g', 'd'] if opt['train'].get('gan_opt') else ['g']
    files = [Path(opt['path']['models'], f'net_{network}_{label}.pth') for network in networks]
    missing = [str(network) for network in files if not network.is_file()]
    if missing:
        yield Problem(
            f'{where} needs {" and ".join(missing)}, which does not exist.',
            'set name to that of the experiment that wrote the state, or start a new training from its weights: set '
            'pretrain_network_g and remove resume_state',
        )


def newest_state(opt: dict[str, Any]) -> Path | None:
    """Return the experiment's training state with the most iterations, or None."""
    states = [file for file in Path(opt['path']['training_states']).glob('*.state') if file.stem.isdecimal()]
    return max(states, key=lambda file: int(file.stem), default=None)


def lock(folder: Path) -> None:
    """Lock an experiment's folder until this process ends.

    The lock file is ``.NAME.lock`` beside the folder, because the folder may be renamed. Child processes do not inherit
    the lock. On a file system without locks, a warning is logged and nothing is locked.

    Raises:
        RuntimeError: another process uses the folder; the message names its machine and process id.
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
def remember_renaming(folder: Path) -> Iterator[None]:
    """Restore the name of a folder that the host renames in this block if training does not begin.

    That is, if the process ends before :func:`training_began` is called, except by SIGKILL.
    """
    before = folder.stat().st_ino if folder.exists() else None
    yield
    for archived in folder.parent.glob(f'{glob.escape(folder.name)}_archived_*'):
        if archived.stat().st_ino == before:
            if not _renamed:
                atexit.register(_restore_names)
                _run_exit_functions_on_signals()
            _renamed.append((folder, archived))


def training_began() -> None:
    """Record that the first iteration is done, so renamed folders keep their new names."""
    _renamed.clear()


def _restore_names() -> None:
    """Restore the names of renamed folders, unless the new folders hold more than a log and options."""
    if any(file.is_file() for folder, _ in _renamed for file in folder.glob('*/**/*')):
        return
    for folder, archived in _renamed:
        shutil.rmtree(folder, ignore_errors=True)
        archived.rename(folder)
        print(f'Training did not begin: {archived} was renamed back to {folder}.', file=sys.stderr)
    _renamed.clear()


def _run_exit_functions_on_signals() -> None:
    """Let signals that would kill the process run its ``atexit`` functions first."""
    from hifacegan_plugin.models.stop_signal import STOPPING

    for number in STOPPING:
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, lambda number, _: sys.exit(128 + number))
