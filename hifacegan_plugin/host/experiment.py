"""The folder of an experiment: what may start in it, who trains in it, and what a start that fails leaves of it.

The host renames the folder that is there, begins its log in a new one, and only then reads options, data and weights.
"""

from __future__ import annotations

import atexit
import errno
import fcntl
import os
import pickle
import shutil
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

_locks: dict[Path, Any] = {}  # lock file by path, open as long as this process lives
_renamed: list[tuple[Path, Path]] = []  # folders that this start renamed: their name before, their name now


def check_start(opt: dict[str, Any]) -> None:
    """Refuse options with which a training would stop after its folder was renamed.

    Args:
        opt: as the host's ``parse_options`` returns them.

    Raises:
        ValueError: names the option and what to write instead.
    """
    check_name(opt)
    wandb = opt['logger'].get('wandb') or {}
    if wandb.get('project') and not opt['logger'].get('use_tb_logger'):
        raise ValueError('logger: wandb shows what TensorBoard is given: set use_tb_logger: true, or project: ~.')
    check_resume_state(opt)


def check_name(opt: dict[str, Any]) -> None:
    """Refuse a ``name`` that is no name of a folder and of the files that carry it.

    Raises:
        ValueError: names the option.
    """
    name = opt['name']
    if Path(name).name != name or name in ('', '..'):
        raise ValueError(f'name: {name!r} cannot be the name of a folder and of files in it: write it without "/".')


def check_resume_state(opt: dict[str, Any]) -> None:
    """Refuse a ``path: resume_state`` that is no state, or has no networks in the experiment's folder.

    Raises:
        ValueError: says what the file is, and where it belongs.
    """
    file = opt['path'].get('resume_state')
    if not file:
        return
    where = f'path: resume_state: {file}'
    try:
        state = torch.load(file, map_location='cpu', weights_only=True, mmap=True)
    except FileNotFoundError as error:
        raise ValueError(f'{where} does not exist: correct the path, or write ~ to begin anew.') from error
    except (OSError, EOFError, RuntimeError, pickle.UnpicklingError) as error:
        raise ValueError(f'{where} is damaged or no training state ({str(error).splitlines()[0]}).') from error
    if not isinstance(state, dict) or not {'iter', 'epoch', 'optimizers', 'schedulers'} <= set(state):
        raise ValueError(f'{where} is no training state: name a .state file of training_states/. To begin anew from '
                         'weights, name them as pretrain_network_g.')
    label = f'{state["iter"]:.0f}'
    networks = ['g', 'd'] if opt['train'].get('gan_opt') else ['g']
    files = [Path(opt['path']['models'], f'net_{network}_{label}.pth') for network in networks]
    missing = [str(network) for network in files if not network.is_file()]
    if missing:
        raise ValueError(f'{where} goes on with {" and ".join(missing)}, which is not there. Write the name of the '
                         'experiment that the state is of, or begin anew from its weights: pretrain_network_g, without '
                         'resume_state.')


def newest_state(opt: dict[str, Any]) -> Path | None:
    """Return the state of the experiment that has come furthest; None where there is none."""
    states = [file for file in Path(opt['path']['training_states']).glob('*.state') if file.stem.isdecimal()]
    return max(states, key=lambda file: int(file.stem), default=None)


def lock(folder: Path) -> None:
    """Take an experiment's folder for this process until it ends, however it ends.

    The lock is held on ``.NAME.lock`` beside the folder, which others may rename. Children do not inherit it. Where the
    file system has no locks, that is said, and nothing is locked.

    Raises:
        RuntimeError: another process trains in the folder; names its machine and its id.
        OSError: the file cannot be written.
    """
    path = folder.parent.resolve() / f'.{folder.name}.lock'
    if path in _locks:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open('a+')
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.seek(0)
        owner = file.read().strip() or 'another process'
        file.close()
        if error.errno not in (errno.EACCES, errno.EAGAIN):  # the two that POSIX allows for a lock that is taken
            print(f'{path} cannot be locked ({error.strerror}): mind that two trainings of one name harm each other.',
                  file=sys.stderr)
            return
        raise RuntimeError(f'{folder} is in use: {owner} trains in it. Wait for it, stop it, or give this training '
                           'another name.') from error
    file.truncate(0)
    file.write(f'process {os.getpid()} on {socket.gethostname()}\n')
    file.flush()
    _locks[path] = file


@contextmanager
def renaming_for_a_start(folder: Path) -> Iterator[None]:
    """Remember under which name the host keeps the folder that it renames inside, until :func:`training_began`.

    If the process ends before, other than by being killed, the folder gets its name back.
    """
    before = folder.stat().st_ino if folder.exists() else None
    yield
    for archived in folder.parent.glob(f'{folder.name}_archived_*'):
        if archived.stat().st_ino == before:
            if not _renamed:
                atexit.register(_put_back)
                _let_signals_end_the_interpreter()
            _renamed.append((folder, archived))


def training_began() -> None:
    """Say that the first iteration is done: what was renamed stays so."""
    _renamed.clear()


def _put_back() -> None:
    """Give the folders of before their names back, unless there is more in the new ones than a log and options."""
    if any(file.is_file() for folder, _ in _renamed for file in folder.glob('*/**/*')):
        return
    for folder, archived in _renamed:
        shutil.rmtree(folder, ignore_errors=True)
        archived.rename(folder)
        print(f'Training did not begin: {archived} is {folder} again.', file=sys.stderr)
    _renamed.clear()


def _let_signals_end_the_interpreter() -> None:
    """Let a signal that would end the process on the spot end it in order, with what is registered for its end."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, lambda number, _: sys.exit(128 + number))
