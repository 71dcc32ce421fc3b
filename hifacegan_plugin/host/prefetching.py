"""Data workers and prefetching."""

from __future__ import annotations

import os
import queue
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from torch.utils.data import DataLoader, Dataset

import hifacegan_plugin
from hifacegan_plugin.host.workaround import training_modules, workaround

if TYPE_CHECKING:
    from basicsr.data.prefetch_dataloader import PrefetchDataLoader

_RUN_TWICE = 'ignore::RuntimeWarning:runpy'


@workaround(
    defect='`persistent_workers: true` fails with `num_worker_per_gpu: 0`',
    fix='ignores it',
)
def ignore_persistent_workers_without_workers() -> None:
    """Allow ``persistent_workers: true`` with ``num_worker_per_gpu: 0``, which torch's loader refuses."""
    from basicsr import data as host_data

    def wrapper(build_dataloader: Callable[..., DataLoader[Any]]) -> Callable[..., Any]:
        def build(
            dataset: Dataset[Any], dataset_opt: dict[str, Any], *arguments: Any, **options: Any
        ) -> DataLoader[Any]:
            if not dataset_opt.get('num_worker_per_gpu'):  # the host starts no workers for validation
                dataset_opt = {**dataset_opt, 'persistent_workers': False}
            return build_dataloader(dataset, dataset_opt, *arguments, **options)

        return build

    for module in (host_data, *training_modules()):
        ignore_persistent_workers_without_workers.wrap(module, 'build_dataloader', wrapper)


@workaround(
    defect="data workers of the host's datasets lack the plugin if they are started by `spawn` (`--launcher`)",
    fix='registers it in each worker',
)
def register_in_every_worker() -> None:
    """Register the plugin in data workers that are started by ``spawn`` and import only the dataset's modules.

    Otherwise workers of the host's datasets would lack the workarounds, such as the check of PNG files.
    """
    from basicsr import data as host_data

    def wrapper(build_dataloader: Callable[..., DataLoader[Any]]) -> Callable[..., Any]:
        def build(*arguments: Any, **options: Any) -> DataLoader[Any]:
            loader = build_dataloader(*arguments, **options)
            loader.worker_init_fn = partial(_register_and_initialise, loader.worker_init_fn)
            return loader

        return build

    for module in (host_data, *training_modules()):
        register_in_every_worker.wrap(module, 'build_dataloader', wrapper)


def _register_and_initialise(initialise: Callable[[int], None] | None, worker_id: int) -> None:
    """Register the plugin, then call the host's ``worker_init_fn``; at module level so that it can be pickled."""
    hifacegan_plugin.register()
    if initialise is not None:
        initialise(worker_id)


@workaround(
    defect='`prefetch_mode: cpu` hangs with `persistent_workers`, and if an image cannot be read',
    fix='stops the prefetching thread before it starts another one, and raises its errors in the training',
)
def prefetch_in_one_thread() -> None:
    """Make ``prefetch_mode: cpu`` work with ``persistent_workers``, and raise errors of its thread in the training.

    The host creates two iterators at the start, and may create another before the last one is exhausted. Each has its
    own thread. With persistent workers, two threads deadlock; without, the first set of workers stays alive to the end.
    An error ends the thread, and the training waits for ever.
    """
    from basicsr.data.prefetch_dataloader import PrefetchDataLoader, PrefetchGenerator

    class Prefetching(PrefetchGenerator):  # type: ignore[misc]
        def __init__(self, batches: Iterator[Any], num_prefetch_queue: int) -> None:
            self.stopped = threading.Event()
            super().__init__(batches, num_prefetch_queue)  # starts the thread

        def run(self) -> None:
            try:
                for batch in self.generator:
                    if self.stopped.is_set():
                        return
                    self.queue.put(batch)
                self.queue.put(None)
            except Exception as error:  # any error of a dataset; __next__ raises it in the training
                self.queue.put(error)

        def stop(self) -> None:
            self.stopped.set()
            while self.is_alive():
                with suppress(queue.Empty):  # unblocks a thread that waits to put a batch
                    self.queue.get(timeout=0.1)

        def __next__(self) -> Any:
            batch = super().__next__()
            if isinstance(batch, Exception):
                raise batch
            return batch

    def wrapper(iterate: Callable[..., Any]) -> Callable[..., Any]:
        def stop_the_last_and_iterate(self: PrefetchDataLoader) -> Prefetching:
            if hasattr(self, 'prefetching'):
                self.prefetching.stop()
            self.prefetching = Prefetching(DataLoader.__iter__(self), self.num_prefetch_queue)
            return self.prefetching

        return stop_the_last_and_iterate

    prefetch_in_one_thread.wrap(PrefetchDataLoader, '__iter__', wrapper)


@workaround(
    defect='with `--launcher`, each data worker prints a `RuntimeWarning` of runpy',
    fix='silences it',
    applies=lambda: hasattr(sys.modules['__main__'], 'train_pipeline'),
)
def silence_runpy_in_workers() -> None:
    """Silence runpy's warning, in every data worker, that ``basicsr.train`` is already imported.

    With ``--launcher``, workers are started by ``spawn``, which runs the module after ``python -m`` again.
    """
    before = os.environ.get('PYTHONWARNINGS', '')
    if _RUN_TWICE not in before:
        os.environ['PYTHONWARNINGS'] = f'{before},{_RUN_TWICE}'.lstrip(',')
