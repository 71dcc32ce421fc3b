"""The start of a training or test: checks before anything is written, and cleaning up after a failed start."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from hifacegan_plugin.host import experiment, loggers, networks, no_gpu
from hifacegan_plugin.host.workaround import Workaround, testing_modules, training_modules, workaround
from hifacegan_plugin.schema.file import OUR_MODEL, problems_of_file
from hifacegan_plugin.schema.problem import Problem
from hifacegan_plugin.schema.registered import registered_names

if TYPE_CHECKING:
    from basicsr.data.prefetch_dataloader import CPUPrefetcher, CUDAPrefetcher

Options = dict[str, Any]


@workaround(
    defect='the folder of an earlier experiment is renamed before data and weights are read',
    fix='restores its name if training ends before the first iteration is done',
)
def restore_the_folder_of_a_failed_start() -> None:
    """Restore the name of an experiment's folder if training ends before its first iteration is done."""
    from basicsr.data.prefetch_dataloader import CPUPrefetcher, CUDAPrefetcher

    def of_make_exp_dirs(make_exp_dirs: Callable[[Options], None]) -> Callable[..., Any]:
        def make_and_remember(opt: Options) -> None:
            if opt['rank'] == 0:
                with experiment.remember_renaming(Path(opt['path']['experiments_root'])):
                    make_exp_dirs(opt)

        return make_and_remember

    def of_mkdir_and_rename(mkdir_and_rename: Callable[[str], None]) -> Callable[..., Any]:
        def make_and_remember(path: str) -> None:
            with experiment.remember_renaming(Path(path)):
                mkdir_and_rename(path)

        return make_and_remember

    def of_next(next_batch: Callable[..., dict[str, Any] | None]) -> Callable[..., Any]:
        def next_batch_after_the_first_iteration(self: CPUPrefetcher | CUDAPrefetcher) -> dict[str, Any] | None:
            if getattr(self, 'was_called', False):
                experiment.training_began()
            self.was_called = True
            return next_batch(self)

        return next_batch_after_the_first_iteration

    for train in training_modules():
        restore_the_folder_of_a_failed_start.wrap(train, 'make_exp_dirs', of_make_exp_dirs)
        restore_the_folder_of_a_failed_start.wrap(train, 'mkdir_and_rename', of_mkdir_and_rename)
    for prefetcher in (CPUPrefetcher, CUDAPrefetcher):
        restore_the_folder_of_a_failed_start.wrap(prefetcher, 'next', of_next)


@workaround(
    defect='`--force_yml manual_seed=1` does not change the initial weights: the seed is set before it is read',
    fix='sets the seed again',
)
def seed_with_the_forced_seed() -> None:
    """Seed the random numbers when all options are known, before any are drawn."""
    from basicsr.utils import set_random_seed

    def seed(opt: Options) -> None:
        set_random_seed(opt['manual_seed'] + opt['rank'])

    _run_at_start(seed_with_the_forced_seed, seed)


@workaround(
    defect='`--auto_resume` searches only `./experiments`',
    fix="searches the experiment's folder under `experiments_root`",
)
def resume_from_the_experiment() -> None:
    """Let ``--auto_resume`` search the experiment's own folder."""

    def wrapper(load_resume_state: Callable[[Options], Options | None]) -> Callable[..., Any]:
        def find_and_load(opt: Options) -> Options | None:
            if opt['auto_resume']:
                opt['path']['resume_state'] = str(experiment.newest_state(opt) or '') or opt['path'].get('resume_state')
            return load_resume_state({**opt, 'auto_resume': False})

        return find_and_load

    for train in training_modules():
        resume_from_the_experiment.wrap(train, 'load_resume_state', wrapper)


@workaround(
    defect='`results_root: ~` in the options of a training ends in a bare `TypeError` after the experiment is renamed',
    fix='leaves out folders that are `~`',
)
def make_no_folder_for_empty_paths() -> None:
    """Pass only the options under ``path`` that have a value to the function that makes their folders."""

    def wrapper(make_exp_dirs: Callable[[Options], None]) -> Callable[..., Any]:
        def make_those_given(opt: Options) -> None:
            given = {key: value for key, value in opt['path'].items() if value is not None}
            make_exp_dirs({**opt, 'path': given})

        return make_those_given

    for module in (*training_modules(), *testing_modules()):
        make_no_folder_for_empty_paths.wrap(module, 'make_exp_dirs', wrapper)


@workaround(
    defect='two trainings or tests with the same name write into the same folder',
    fix='rejects the second one before anything is renamed, and names the machine and process of the first',
)
def lock_the_experiment() -> None:
    """Exit before anything is renamed if another process trains or tests in the folder."""

    def lock(opt: Options) -> None:
        if opt['rank'] == 0:
            experiment.lock(Path(opt['path'][experiment.folder_option(opt)]))

    _run_at_start(lock_the_experiment, lock)


@workaround(
    defect='options are checked only when used: `lr: 1e-4`, which is text to YAML, or `val` without `save_img` ends '
    'in a bare error after the experiment is renamed, or at the first validation',
    fix='checks options, classes, name, folders, networks, image sizes, loggers, GPUs and training state before '
    'anything is written',
)
def check_the_options_first() -> None:
    """Exit before anything is written if the options of a training or test are wrong."""
    _run_at_start(check_the_options_first, check_options)


def check_options(opt: Options) -> None:
    """Check options that would make a training or test fail later.

    Args:
        opt: options as returned by the host's ``parse_options``.

    Raises:
        ValueError: options are wrong; the message names them and the fixes.
    """
    refused = [f'{problem.what} -> {problem.fix}' for problem in problems_at_start(opt)]
    if refused:
        raise ValueError('\n'.join(refused))


def problems_at_start(opt: Options) -> Iterator[Problem]:
    """Find what would stop a training or test.

    Args:
        opt: options as returned by the host's ``parse_options``.
    """
    wrong = [problem for problem in problems_of_file(opt) if problem.stops]
    yield from wrong
    if wrong:  # the other checks need valid options
        return
    yield from no_gpu.problems_of_num_gpu(opt)
    yield from experiment.problems_of_folders(opt)
    yield from _problems_of_classes_and_networks(opt)
    if opt['is_train']:
        yield from loggers.problems_of_loggers(opt)
        yield from experiment.problems_of_resume_state(opt)


def _problems_of_classes_and_networks(opt: Options) -> Iterator[Problem]:
    """Check the classes in the options, unless the model is of another package and may read them in its own way."""
    from basicsr.utils.registry import MODEL_REGISTRY

    from hifacegan_plugin.models.named_classes import problems_of_classes

    if opt['model_type'] == OUR_MODEL or opt['model_type'] not in registered_names(MODEL_REGISTRY):
        unknown = list(problems_of_classes(opt))
        yield from unknown
        if unknown:
            return
    yield from networks.problems_of_networks(opt)
    yield from networks.problems_of_generator(opt)


def _run_at_start(patch: Workaround, step: Callable[[Options], None]) -> None:
    """Run ``step`` before a training or test writes anything; it may refuse the options."""

    def wrapper(first_step: Callable[[Options], Any]) -> Callable[[Options], Any]:
        def check_and_begin(opt: Options) -> Any:
            _exit_if_refused(opt, step)
            return first_step(opt)

        return check_and_begin

    for train in training_modules():  # loading a training state is their first step
        patch.wrap(train, 'load_resume_state', wrapper)
    for test in testing_modules():
        patch.wrap(test, 'make_exp_dirs', wrapper)


def _exit_if_refused(opt: Options, check: Callable[[Options], None]) -> None:
    """Exit in all processes, with one message, if a check refuses the options in any of them.

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
