"""The start of a training or test: what is checked before anything is renamed, and what a start that fails restores."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from hifacegan_plugin.host import experiment, no_gpu
from hifacegan_plugin.host.accommodation import Accommodation, accommodation, testing_modules, training_modules

if TYPE_CHECKING:
    from basicsr.data.prefetch_dataloader import CPUPrefetcher, CUDAPrefetcher

Options = dict[str, Any]


@accommodation(
    defect='an experiment is renamed before data and weights are read',
    answer='restores the name of its folder if training ends before its first iteration does',
)
def restore_the_folder_of_a_failed_start() -> None:
    """Restore the name of an experiment's folder where the training ends before its first iteration does."""
    from basicsr.data.prefetch_dataloader import CPUPrefetcher, CUDAPrefetcher

    def of_make_exp_dirs(make_exp_dirs: Callable[[Options], None]) -> Callable[..., Any]:
        def make_and_remember(opt: Options) -> None:
            if opt['rank'] == 0:
                with experiment.renaming_for_a_start(Path(opt['path']['experiments_root'])):
                    make_exp_dirs(opt)

        return make_and_remember

    def of_mkdir_and_rename(mkdir_and_rename: Callable[[str], None]) -> Callable[..., Any]:
        def make_and_remember(path: str) -> None:
            with experiment.renaming_for_a_start(Path(path)):
                mkdir_and_rename(path)

        return make_and_remember

    def of_next(next_batch: Callable[..., dict[str, Any] | None]) -> Callable[..., Any]:
        def next_batch_after_the_first_iteration(self: CPUPrefetcher | CUDAPrefetcher) -> dict[str, Any] | None:
            if getattr(self, 'was_asked', False):
                experiment.training_began()
            self.was_asked = True
            return next_batch(self)

        return next_batch_after_the_first_iteration

    for train in training_modules():
        restore_the_folder_of_a_failed_start.wrap(train, 'make_exp_dirs', of_make_exp_dirs)
        restore_the_folder_of_a_failed_start.wrap(train, 'mkdir_and_rename', of_mkdir_and_rename)
    for prefetcher in (CPUPrefetcher, CUDAPrefetcher):
        restore_the_folder_of_a_failed_start.wrap(prefetcher, 'next', of_next)


@accommodation(
    defect='an experiment is renamed before the options are checked',
    answer='checks them first, and that a training state is of this experiment',
)
def check_the_options_first() -> None:
    """Exit before anything is renamed where the options cannot work."""
    _check_before_resuming(check_the_options_first, experiment.check_start)


@accommodation(
    defect='`--auto_resume` looks in `./experiments` alone',
    answer="looks in the experiment's folder, wherever `experiments_root` puts it",
)
def resume_from_the_experiment() -> None:
    """Let ``--auto_resume`` look in the experiment's folder, wherever it is."""

    def wrapper(load_resume_state: Callable[[Options], Options | None]) -> Callable[..., Any]:
        def find_and_load(opt: Options) -> Options | None:
            if opt['auto_resume']:
                opt['path']['resume_state'] = str(experiment.newest_state(opt) or '') or opt['path'].get('resume_state')
            return load_resume_state({**opt, 'auto_resume': False})

        return find_and_load

    for train in training_modules():
        resume_from_the_experiment.wrap(train, 'load_resume_state', wrapper)


@accommodation(
    defect='two trainings of one name write into one folder',
    answer="refuses the second one before anything is renamed, and names the first one's machine and process",
)
def lock_the_experiment() -> None:
    """Exit before anything is renamed where another process trains in the folder."""

    def lock(opt: Options) -> None:
        if opt['rank'] == 0:
            experiment.lock(Path(opt['path']['experiments_root']))

    _check_before_resuming(lock_the_experiment, lock)


@accommodation(
    defect='a `name` with a `/` scatters the files of a training or test',
    answer='refuses it before anything is written',
)
def check_the_name_first() -> None:
    """Exit before anything is written where ``name`` cannot be the name of a folder."""
    _check_before_all(check_the_name_first, experiment.check_name)


@accommodation(
    defect='`num_gpu: 2` without a GPU ends in a bare error of torch',
    answer='refuses it before anything is written',
)
def check_the_gpus_first() -> None:
    """Exit before anything is written where ``num_gpu`` asks for a GPU and there is none."""
    _check_before_all(check_the_gpus_first, no_gpu.check_num_gpu)


def _check_before_all(answer: Accommodation, check: Callable[[Options], None]) -> None:
    """Apply an accommodation that checks the options before a training or a test writes anything."""

    def wrapper(make_exp_dirs: Callable[[Options], None]) -> Callable[..., Any]:
        def check_and_make(opt: Options) -> None:
            _exit_if_refused(opt, check)
            make_exp_dirs(opt)

        return check_and_make

    _check_before_resuming(answer, check)
    for test in testing_modules():
        answer.wrap(test, 'make_exp_dirs', wrapper)


def _check_before_resuming(answer: Accommodation, check: Callable[[Options], None]) -> None:
    """Apply an accommodation that checks the options before the host looks for a training state, its first step."""

    def wrapper(load_resume_state: Callable[[Options], Options | None]) -> Callable[..., Any]:
        def check_and_load(opt: Options) -> Options | None:
            _exit_if_refused(opt, check)
            return load_resume_state(opt)

        return check_and_load

    for train in training_modules():
        answer.wrap(train, 'load_resume_state', wrapper)


def _exit_if_refused(opt: Options, check: Callable[[Options], None]) -> None:
    """Exit in all processes together, with the message of the first one, where a check refuses the options in any.

    Raises:
        SystemExit: the check raised an error in some process.
    """
    try:
        check(opt)
        refusals = ['']
    except (ValueError, RuntimeError, OSError) as error:
        refusals = [str(error)]
    if opt['dist']:
        (refusal,), refusals = refusals, [''] * opt['world_size']
        torch.distributed.all_gather_object(refusals, refusal)
    if any(refusals):
        raise SystemExit(next(filter(None, refusals)) if opt['rank'] == 0 else 1)
