"""The border to BasicSR: what the plugin registers there, and every accommodation of a defect of the host.

Nothing of the host's source is changed. Each accommodation is one function of the second half of this file, says which
defect it answers, and is applied only where that defect bites; the README lists them.
"""

from __future__ import annotations

import argparse
import atexit
import functools
import math
import os
import queue
import re
import secrets
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from logging import Logger
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, Dataset

from hifacegan_plugin.host import experiment
from hifacegan_plugin.host.tensorboard import PatientWriter
from hifacegan_plugin.system.random_state import restore_random_state


def check_options_file() -> None:
    """End with a message where ``-opt`` on the command line names no file; the host takes its name for the options.

    Raises:
        SystemExit: there is no such file.
    """
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument('-opt')
    file = parser.parse_known_args()[0].opt
    if file and not Path(file).is_file():
        raise SystemExit(f'-opt {file}: there is no such file.')


def register() -> None:
    """Register the plugin's classes and functions with the host and make the host run on this machine.

    A second call does no harm.

    Raises:
        ImportError: if the host is missing, or is a release that recent torchvision breaks.
    """
    _import_host()
    from basicsr.utils.registry import (
        ARCH_REGISTRY,
        DATASET_REGISTRY,
        LOSS_REGISTRY,
        METRIC_REGISTRY,
        MODEL_REGISTRY,
        Registry,
    )

    from hifacegan_plugin import archs, data, losses, metrics, models

    packages: dict[ModuleType, Registry] = {
        archs: ARCH_REGISTRY,
        data: DATASET_REGISTRY,
        losses: LOSS_REGISTRY,
        metrics: METRIC_REGISTRY,
        models: MODEL_REGISTRY,
    }
    for package, registry in packages.items():
        for name in getattr(package, '__all__', ()):
            if name not in registry:
                registry.register(getattr(package, name))
    accommodate()


def accommodate() -> None:
    """Apply every accommodation whose defect bites here; those already applied are left alone."""
    read_lists_of_roots()
    share_databases()
    tell_datasets_the_draw()
    resume_within_the_epoch()
    train_to_the_last_iteration()
    leave_signals_to_the_training()
    keep_only_workers_that_there_are()
    prefetch_in_one_thread()
    put_back_the_experiment_of_a_start_that_fails()
    keep_tensorboard_out_of_site_packages()
    outlive_tensorboard()
    read_numbers_of_the_command_line()
    debug_without_validation()
    begin_with_any_wandb()
    spare_workers_a_warning()
    if not torch.cuda.is_available():
        launch_processes_without_gpu()
        wrap_networks_without_gpu()
        resume_without_gpu()
    refuse_to_start()


def _import_host() -> None:
    try:
        import basicsr  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name == 'basicsr':
            mend = 'pip install basicsr-fixed'
        elif error.name == 'torchvision.transforms.functional_tensor':
            mend = 'this release of basicsr breaks with torchvision >= 0.17: pip uninstall basicsr, then pip install '
            mend += '--force-reinstall basicsr-fixed (the same package with the import mended)'
        else:
            raise
        raise ImportError(f'The host BasicSR cannot be imported ({error}): {mend}.') from error


# ------------------------------------------------------------------------------------------------- accommodations


def read_lists_of_roots() -> None:
    """Allow ``dataroot_gt: [a.lmdb, b.lmdb]``; the host expands the ``~`` of a single path and fails on a list."""
    from basicsr.utils import options

    def of_each(expanduser: Callable) -> Callable:
        def call(path: str | list[str]) -> str | list[str]:
            return [expanduser(one) for one in path] if isinstance(path, list) else expanduser(path)

        return call

    if options.osp is os.path:  # a module of its own, so that nobody else's os.path changes
        options.osp = ModuleType('path_of_options')
        options.osp.__dict__.update(vars(os.path))
    _replace(options.osp, 'expanduser', of_each)


def share_databases() -> None:
    """Let data sets share an LMDB; each of the host's opens it for itself, which LMDB refuses the second of a process.

    Of two validation sets with the same images none but the first could be read.
    """
    from basicsr.utils.file_client import LmdbBackend

    from hifacegan_plugin.images.databases import open_database

    def through_one_handle(init: Callable) -> Callable:
        def call(self: LmdbBackend, db_paths: str | list[str], client_keys: str | list[str] = 'default',
                 **options: Any) -> None:
            paths, keys = ([value] if isinstance(value, str) else value for value in (db_paths, client_keys))
            self._client = {key: open_database(path, **options) for key, path in zip(keys, paths, strict=True)}

        return call

    _replace(LmdbBackend, '__init__', through_one_handle)


def tell_datasets_the_draw() -> None:
    """Let datasets that draw at random know the epoch and which repetition of a picture is asked for.

    The host's sampler keeps the epoch to itself, and with ``dataset_enlarge_ratio`` hands out the same index several
    times an epoch, so that a dataset could only draw anew from global state, which the host seeds alike every epoch.
    A dataset with a ``set_epoch`` method is told the epoch, and gets indices up to length x ratio.
    """
    from basicsr.data.data_sampler import EnlargedSampler

    from hifacegan_plugin.models.epoch import begin_epoch

    def and_tell(set_epoch: Callable) -> Callable:
        def set_epoch_and_tell(self: EnlargedSampler, epoch: int) -> None:
            set_epoch(self, epoch)
            begin_epoch(epoch)
            if hasattr(self.dataset, 'set_epoch'):
                self.dataset.set_epoch(epoch)

        return set_epoch_and_tell

    def over_draws(iterate: Callable) -> Callable:
        def iterate_draws(self: EnlargedSampler) -> Iterator[int]:
            if not hasattr(self.dataset, 'set_epoch'):
                return iterate(self)
            # The host folds its permutation by the length of the dataset: make that as long as the permutation.
            with mock.patch.object(self, 'dataset', range(self.total_size)):
                draws = iterate(self)
            return islice(draws, _draws_done_before_resuming(self.epoch, self.num_samples), None)

        return iterate_draws

    _replace(EnlargedSampler, 'set_epoch', and_tell)
    _replace(EnlargedSampler, '__iter__', over_draws)


def resume_within_the_epoch() -> None:
    """Go on with the rest of the epoch in which training stopped; the host begins that epoch anew.

    Holds for datasets that are told their draws; with them a resumed training sees what an uninterrupted one sees.
    The random generators of the process go on, too, for networks and losses that draw.

    Raises:
        RuntimeError: the processes would go on from different iterations.
    """
    from basicsr.data.prefetch_dataloader import CPUPrefetcher, CUDAPrefetcher

    def and_remember(load_resume_state: Callable) -> Callable:
        def call(opt: dict[str, Any]) -> dict[str, Any] | None:
            state = load_resume_state(opt)
            _check_that_all_resume_alike(opt, state['iter'] if state else 0)
            if state:
                loaders = 1 if opt['dist'] else max(1, opt['num_gpu'])  # one loader feeds all GPUs of DataParallel
                batch_size = opt['datasets']['train']['batch_size_per_gpu'] * loaders
                _resumed_at.update(epoch=state['epoch'], iteration=state['iter'], batch_size=batch_size)
                random_states = state.get('random_states', [])
                if len(random_states) == opt['world_size']:
                    _resumed_at['random_state'] = random_states[opt['rank']]
            return state

        return call

    def and_go_on_drawing(reset: Callable) -> Callable:
        def call(self: CPUPrefetcher | CUDAPrefetcher) -> None:
            reset(self)  # the loader draws the seed of its workers, which an uninterrupted training did before
            if 'random_state' in _resumed_at:
                restore_random_state(_resumed_at.pop('random_state'))

        return call

    for train in _host_modules('train_pipeline'):
        _replace(train, 'load_resume_state', and_remember)
    for prefetcher in (CPUPrefetcher, CUDAPrefetcher):
        _replace(prefetcher, 'reset', and_go_on_drawing)


_resumed_at: dict[str, Any] = {}  # epoch, iteration and more of the training state that this process went on from


def _check_that_all_resume_alike(opt: dict[str, Any], iteration: int) -> None:
    if not opt['dist']:
        return
    iterations = [0] * opt['world_size']
    torch.distributed.all_gather_object(iterations, iteration)
    if len(set(iterations)) > 1:
        raise RuntimeError(
            f'The processes would go on from different iterations ({", ".join(map(str, iterations))}): the '
            "experiment's folder has to be on a file system that all machines share."
        )


def _draws_done_before_resuming(epoch: int, draws_per_epoch: int) -> int:
    """Give how many draws of ``epoch`` were trained on before training was resumed in it; 0 in any other epoch."""
    if _resumed_at.get('epoch') != epoch:
        return 0
    iterations_per_epoch = draws_per_epoch // _resumed_at['batch_size']  # the host drops the last, smaller batch
    done = _resumed_at['iteration'] - epoch * iterations_per_epoch
    if not 0 <= done <= iterations_per_epoch:
        return 0  # the data set, the batch or the number of processes is another one now: begin the epoch anew
    return done * _resumed_at['batch_size']


def train_to_the_last_iteration() -> None:
    """Train for as many epochs as ``total_iter`` takes.

    The host counts the last, smaller batch of an epoch, which its loader drops, and ends too early, with success.

    Raises:
        ValueError: an epoch has too few draws for a batch.
    """

    def and_count_epochs(create_train_val_dataloader: Callable) -> Callable:
        def call(opt: dict[str, Any], logger: Logger) -> tuple:
            train_loader, train_sampler, val_loaders, _, total_iters = create_train_val_dataloader(opt, logger)
            if len(train_loader) == 0:
                raise ValueError(
                    f'datasets: train: {len(train_sampler)} draws an epoch (pictures times dataset_enlarge_ratio, in '
                    f'each process) do not fill a batch of {train_loader.batch_size}: raise dataset_enlarge_ratio or '
                    'lower batch_size_per_gpu.'
                )
            iterations_left = total_iters - _resumed_at.get('iteration', 0)
            total_epochs = _resumed_at.get('epoch', 0) + math.ceil(iterations_left / len(train_loader))
            return train_loader, train_sampler, val_loaders, total_epochs, total_iters

        return call

    for train in _host_modules('train_pipeline'):
        _replace(train, 'create_train_val_dataloader', and_count_epochs)


def leave_signals_to_the_training() -> None:
    """Let data workers end on SIGTERM only if the training process sends it, and on SIGINT and SIGHUP not at all.

    Terminals and cluster managers send them to all processes of a job at once. Without its workers the training could
    not come to the end of the iteration after which it saves and leaves.
    """
    from basicsr import data as host_data
    from basicsr.data.prefetch_dataloader import CPUPrefetcher, CUDAPrefetcher

    from hifacegan_plugin.models.stop_signal import STOPPING

    def and_obey_the_parent(worker_init_fn: Callable) -> Callable:
        def call(*arguments: Any, **options: Any) -> None:
            worker_init_fn(*arguments, **options)
            signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
            threading.Thread(target=_end_when_the_parent_says_so, daemon=True).start()

        return call

    def out_of_reach(start_workers: Callable) -> Callable:
        def call(*arguments: Any) -> None:
            before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)  # workers inherit it, while they start, too
            try:
                start_workers(*arguments)
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)

        return call

    _replace(host_data, 'worker_init_fn', and_obey_the_parent)
    for prefetcher in (CPUPrefetcher, CUDAPrefetcher):
        _replace(prefetcher, '__init__', out_of_reach)
        _replace(prefetcher, 'reset', out_of_reach)


def _end_when_the_parent_says_so() -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(0)


def keep_only_workers_that_there_are() -> None:
    """Let ``num_worker_per_gpu: 0`` stand beside ``persistent_workers: true``, which torch's loader refuses."""
    from basicsr import data as host_data

    def without_workers(build_dataloader: Callable) -> Callable:
        def call(dataset: Dataset, dataset_opt: dict[str, Any], *arguments: Any, **options: Any) -> DataLoader:
            if not dataset_opt.get('num_worker_per_gpu'):  # in validation the host never starts any
                dataset_opt = {**dataset_opt, 'persistent_workers': False}
            return build_dataloader(dataset, dataset_opt, *arguments, **options)

        return call

    for module in (host_data, *_host_modules('train_pipeline')):
        _replace(module, 'build_dataloader', without_workers)


def prefetch_in_one_thread() -> None:
    """Make ``prefetch_mode: cpu`` work with ``persistent_workers``, and end with the error where reading fails.

    The host begins to iterate twice at the start, and may begin anew while the last iteration is unfinished. Each has a
    thread of its own: on the same persistent workers two of them wait for each other for ever, and of workers that are
    not persistent the first set stays to the end. An error ends the thread, and the trainer waits for ever.
    """
    from basicsr.data.prefetch_dataloader import PrefetchDataLoader, PrefetchGenerator

    class Prefetching(PrefetchGenerator):
        def __init__(self, batches: Iterator, num_prefetch_queue: int) -> None:
            self.stopped = threading.Event()
            super().__init__(batches, num_prefetch_queue)  # starts the thread

        def run(self) -> None:
            try:
                for batch in self.generator:
                    if self.stopped.is_set():
                        return
                    self.queue.put(batch)
                self.queue.put(None)
            except Exception as error:  # whatever reading raises is the trainer's
                self.queue.put(error)

        def stop(self) -> None:
            self.stopped.set()
            while self.is_alive():
                with suppress(queue.Empty):  # what it may be waiting to hand over
                    self.queue.get(timeout=0.1)

        def __next__(self) -> Any:
            batch = super().__next__()
            if isinstance(batch, Exception):
                raise batch
            return batch

    def after_the_last(iterate: Callable) -> Callable:
        def iterate_alone(self: PrefetchDataLoader) -> Prefetching:
            if hasattr(self, 'prefetching'):
                self.prefetching.stop()
            self.prefetching = Prefetching(DataLoader.__iter__(self), self.num_prefetch_queue)
            return self.prefetching

        return iterate_alone

    _replace(PrefetchDataLoader, '__iter__', after_the_last)


def keep_tensorboard_out_of_site_packages() -> None:
    """Write TensorBoard files below the current folder where the host is installed with pip.

    The host takes the folder above its package as its root, which then is site-packages.
    """
    for train in _host_modules('train_pipeline'):
        root = Path(train.__file__).resolve().parents[1]
        if root.name not in ('site-packages', 'dist-packages') and not any(root.glob('basicsr*.dist-info')):
            continue

        def below_current_folder(function: Callable, root: Path = root) -> Callable:
            def call(path: str | None = None, *, log_dir: str | None = None) -> Any:
                path = Path(path or log_dir).resolve()
                return function(str(Path.cwd() / path.relative_to(root) if path.is_relative_to(root) else path))

            return call

        _replace(train, 'init_tb_logger', below_current_folder)
        _replace(train, 'mkdir_and_rename', below_current_folder)


def outlive_tensorboard() -> None:
    """Go on without TensorBoard where its files cannot be written; the host ends with the writer's error."""

    def patient(init_tb_logger: Callable) -> Callable:
        def call(**options: Any) -> PatientWriter | None:
            writer = init_tb_logger(**options)
            return writer and PatientWriter(writer)  # there is none but in the first process

        return call

    for train in _host_modules('train_pipeline'):
        _replace(train, 'init_tb_logger', patient)


def read_numbers_of_the_command_line() -> None:
    """Read numbers such as ``1e-5`` and ``-1`` after ``--force_yml`` as numbers; the host takes them for text."""
    from basicsr.utils import options

    def and_all_numbers(postprocess: Callable) -> Callable:
        def call(value: str) -> Any:
            if not NUMBER.fullmatch(value):
                return postprocess(value)
            return float(value) if set('.eE') & set(value) else int(value)

        return call

    _replace(options, '_postprocess_yml_value', and_all_numbers)


NUMBER = re.compile(r'[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?')


def debug_without_validation() -> None:
    """Allow ``--debug`` with ``val: ~``, which the host takes for a section; it is left out, which means the same.

    Where the host's own command reads the options file, this comes too late: its reading is what imports the plugin.
    """
    from basicsr.utils import options

    def without_empty_val(yaml_load: Callable) -> Callable:
        def call(file: str) -> Any:
            opt = yaml_load(file)
            if isinstance(opt, dict) and 'val' in opt and opt['val'] is None:
                del opt['val']
            return opt

        return call

    _replace(options, 'yaml_load', without_empty_val)


def begin_with_any_wandb() -> None:
    """Draw the id of a run for releases of wandb that do not do so for others any more (0.31)."""

    def with_an_id(init_wandb_logger: Callable) -> Callable:
        def call(opt: dict[str, Any]) -> None:
            if opt['rank'] > 0:
                return
            import wandb

            with mock.patch.object(wandb.util, 'generate_id', lambda: secrets.token_hex(4), create=True):
                init_wandb_logger(opt)

        return call

    for train in _host_modules('train_pipeline'):
        _replace(train, 'init_wandb_logger', with_an_id)


def spare_workers_a_warning() -> None:
    """Keep Python from warning in every data worker that the host imports its own train module.

    With ``--launcher`` each worker is a Python of its own, which runs the module that ``python -m`` named once more.
    """
    before = os.environ.get('PYTHONWARNINGS', '')
    if RUN_TWICE not in before and hasattr(sys.modules['__main__'], 'train_pipeline'):
        os.environ['PYTHONWARNINGS'] = f'{before},{RUN_TWICE}'.lstrip(',')


RUN_TWICE = 'ignore::RuntimeWarning:runpy'


def put_back_the_experiment_of_a_start_that_fails() -> None:
    """Give an experiment's folder its name back where the training ends before its first iteration does.

    The host renames it before it reads data and weights and builds the networks.
    """
    from basicsr.data.prefetch_dataloader import CPUPrefetcher, CUDAPrefetcher

    def and_remember(make_exp_dirs: Callable) -> Callable:
        def call(opt: dict[str, Any]) -> None:
            if opt['rank'] == 0:
                with experiment.renaming_for_a_start(Path(opt['path']['experiments_root'])):
                    make_exp_dirs(opt)

        return call

    def and_remember_too(mkdir_and_rename: Callable) -> Callable:
        def call(path: str) -> None:
            with experiment.renaming_for_a_start(Path(path)):
                mkdir_and_rename(path)

        return call

    def until_it_is_asked_again(next_batch: Callable) -> Callable:
        def call(self: CPUPrefetcher | CUDAPrefetcher) -> dict[str, Any] | None:
            if getattr(self, 'was_asked', False):
                experiment.training_began()
            self.was_asked = True
            return next_batch(self)

        return call

    for train in _host_modules('train_pipeline'):
        _replace(train, 'make_exp_dirs', and_remember)
        _replace(train, 'mkdir_and_rename', and_remember_too)
    for prefetcher in (CPUPrefetcher, CUDAPrefetcher):
        _replace(prefetcher, 'next', until_it_is_asked_again)


def refuse_to_start() -> None:
    """End before anything is renamed where the options cannot work or another process trains in the folder.

    ``--auto_resume`` looks in that folder, wherever it is; the host looks in ``experiments``.
    """

    def and_refuse(load_resume_state: Callable) -> Callable:
        def call(opt: dict[str, Any]) -> dict[str, Any] | None:
            _end_if_refused(opt, experiment.check_name)
            _end_if_refused(opt, _lock)
            if opt['auto_resume']:
                opt['path']['resume_state'] = str(experiment.newest_state(opt) or '') or opt['path'].get('resume_state')
            _end_if_refused(opt, experiment.check_start)
            with mock.patch.dict(opt, auto_resume=False):
                return load_resume_state(opt)

        return call

    def unless_it_is_nameless(make_exp_dirs: Callable) -> Callable:
        def call(opt: dict[str, Any]) -> None:
            _end_if_refused(opt, experiment.check_name)
            make_exp_dirs(opt)

        return call

    for train in _host_modules('train_pipeline'):
        _replace(train, 'load_resume_state', and_refuse)
    for test in _host_modules('test_pipeline'):
        _replace(test, 'make_exp_dirs', unless_it_is_nameless)


def _lock(opt: dict[str, Any]) -> None:
    if opt['rank'] == 0:
        experiment.lock(Path(opt['path']['experiments_root']))


def _end_if_refused(opt: dict[str, Any], check: Callable[[dict[str, Any]], None]) -> None:
    """End all processes together, with the message of the first one, where a check refuses the options in any."""
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


def launch_processes_without_gpu() -> None:
    """Make ``--launcher pytorch`` and ``--launcher slurm`` work on CPUs, over gloo.

    The host divides the rank by the number of GPUs to choose one, asks for nccl, and never leaves the process group.
    """
    from basicsr.utils import dist_util

    def on_gloo(launch: Callable) -> Callable:
        def call(backend: str, **options: Any) -> None:
            with mock.patch.multiple(torch.cuda, device_count=lambda: 1, set_device=lambda device: None):
                launch('gloo', **options)
            atexit.register(_leave_process_group)

        return call

    _replace(dist_util, '_init_dist_pytorch', on_gloo)
    _replace(dist_util, '_init_dist_slurm', on_gloo)


def _leave_process_group() -> None:
    """End gloo's threads while the interpreter is whole: it may abort on them later (pytorch/pytorch#190489).

    Not after an error: what this process began, others may be waiting for, and leaving waits for them.
    """
    if dist.is_initialized() and not hasattr(sys, 'last_value'):
        dist.destroy_process_group()


def wrap_networks_without_gpu() -> None:
    """Make the host's models use DistributedDataParallel on CPUs; the host names the current GPU."""
    from basicsr.models.base_model import BaseModel

    def or_cpu(to_device: Callable) -> Callable:
        def to_device_or_cpu(self: BaseModel, net: torch.nn.Module) -> torch.nn.Module:
            if not self.opt['dist']:
                return to_device(self, net)
            return DistributedDataParallel(net, find_unused_parameters=self.opt.get('find_unused_parameters', False))

        return to_device_or_cpu

    _replace(BaseModel, 'model_to_device', or_cpu)


def resume_without_gpu() -> None:
    """Make ``--auto_resume`` and ``resume_state`` work on CPUs; the host loads training states onto the current GPU."""

    def onto_cpu(load_resume_state: Callable) -> Callable:
        load = torch.load

        def call(opt: dict[str, Any]) -> dict[str, Any] | None:
            def load_onto_cpu(path: str, map_location: Any) -> Any:
                return load(path, map_location='cpu')

            with mock.patch.object(torch, 'load', load_onto_cpu), mock.patch.object(torch.cuda, 'current_device', int):
                return load_resume_state(opt)

        return call

    for train in _host_modules('train_pipeline'):
        _replace(train, 'load_resume_state', onto_cpu)


def _host_modules(pipeline: str) -> list[ModuleType]:
    """Return the host's module that has a pipeline under the names it may have: run as a script, it is ``__main__``."""
    modules = [sys.modules.get(name) for name in ('__main__', 'basicsr.train', 'basicsr.test')]
    return [module for module in modules if hasattr(module, pipeline) and hasattr(module, 'make_exp_dirs')]


def _replace(owner: Any, name: str, accommodate: Callable[[Callable], Callable]) -> None:
    """Replace a function of the host by what ``accommodate`` makes of it; done once for each accommodation."""
    original = getattr(owner, name)
    accommodations = getattr(original, 'accommodations', ())
    if accommodate.__qualname__ not in accommodations:
        replacement = functools.wraps(original)(accommodate(original))
        replacement.accommodations = (*accommodations, accommodate.__qualname__)
        setattr(owner, name, replacement)
