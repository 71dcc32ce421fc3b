"""Sampling of training images: the draws of an epoch, resuming within an epoch, and the number of epochs."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from logging import Logger
from typing import TYPE_CHECKING, Any

import torch

from hifacegan_plugin.host.workaround import training_modules, workaround
from hifacegan_plugin.system.random_state import restore_random_state

if TYPE_CHECKING:
    from basicsr.data.data_sampler import EnlargedSampler
    from basicsr.data.prefetch_dataloader import CPUPrefetcher, CUDAPrefetcher


@dataclass
class ResumePoint:
    """Where this process resumed training.

    Attributes:
        epoch: epoch of the training state.
        iteration: iteration of the training state; 0 if training was not resumed.
        batch_size: current batch size of the data loader.
        random_state: random state of the process that wrote the training state, until it is restored.
    """

    epoch: int = 0
    iteration: int = 0
    batch_size: int = 1
    random_state: Any = None


resumed = ResumePoint()  # of this process


@workaround(
    defect='the sampler passes neither the epoch nor the repetition of an image to the dataset',
    fix='passes both to datasets with `set_epoch`, so that each draw depends only on seed, epoch and index',
)
def pass_epochs_to_datasets() -> None:
    """Pass the epoch and the repetition of an image to datasets that draw at random.

    The host's sampler does not pass on the epoch and, with ``dataset_enlarge_ratio``, returns the same index several
    times per epoch. A dataset could then only draw from global random state, which the host seeds the same in every
    epoch. Now, a dataset with a ``set_epoch`` method gets the epoch, and indices below length * ratio.
    """
    from basicsr.data.data_sampler import EnlargedSampler

    from hifacegan_plugin.models.epoch import begin_epoch

    def of_set_epoch(set_epoch: Callable[..., None]) -> Callable[..., Any]:
        def set_and_tell_epoch(self: EnlargedSampler, epoch: int) -> None:
            set_epoch(self, epoch)
            begin_epoch(epoch)
            if hasattr(self.dataset, 'set_epoch'):
                self.dataset.set_epoch(epoch)

        return set_and_tell_epoch

    def of_iter(iterate: Callable[..., Iterator[int]]) -> Callable[..., Any]:
        def iterate_over_draws(self: EnlargedSampler) -> Iterator[int]:
            if not hasattr(self.dataset, 'set_epoch'):
                return iterate(self)
            # The host takes its indices modulo the length of the dataset; this range is long enough to keep them.
            sampler = copy.copy(self)
            sampler.dataset = range(self.total_size)
            return islice(iterate(sampler), _draws_before_resuming(self.epoch, self.num_samples), None)

        return iterate_over_draws

    pass_epochs_to_datasets.wrap(EnlargedSampler, 'set_epoch', of_set_epoch)
    pass_epochs_to_datasets.wrap(EnlargedSampler, '__iter__', of_iter)


@workaround(
    defect='a resumed training starts its epoch again',
    fix='continues within the epoch, for datasets with `set_epoch`',
)
def resume_within_the_epoch() -> None:
    """Continue with the rest of the epoch in which training stopped.

    This applies to datasets with ``set_epoch``: a resumed training sees the same images as an uninterrupted one. The
    random state of the process is restored, too, for networks and losses that draw.

    Raises:
        RuntimeError: when training starts, if the processes would resume from different iterations.
    """
    from basicsr.data.prefetch_dataloader import CPUPrefetcher, CUDAPrefetcher

    def of_load(load_resume_state: Callable[..., dict[str, Any] | None]) -> Callable[..., Any]:
        def load_and_remember(opt: dict[str, Any]) -> dict[str, Any] | None:
            state = load_resume_state(opt)
            _check_that_all_resume_alike(opt, state['iter'] if state else 0)
            if state:
                _remember(state, opt)
            return state

        return load_and_remember

    def of_reset(reset: Callable[..., None]) -> Callable[..., Any]:
        def reset_and_restore_random_state(self: CPUPrefetcher | CUDAPrefetcher) -> None:
            reset(self)  # draws the seed of the workers, which preceded the saved state in the earlier process
            if resumed.random_state is not None:
                restore_random_state(resumed.random_state)
                resumed.random_state = None

        return reset_and_restore_random_state

    for train in training_modules():
        resume_within_the_epoch.wrap(train, 'load_resume_state', of_load)
    for prefetcher in (CPUPrefetcher, CUDAPrefetcher):
        resume_within_the_epoch.wrap(prefetcher, 'reset', of_reset)


@workaround(
    defect='training ends before `total_iter` if the batch size does not divide the epoch',
    fix='computes the number of epochs from full batches',
)
def train_to_the_last_iteration() -> None:
    """Train for as many epochs as ``total_iter`` needs.

    The host counts the last, smaller batch of an epoch, which its loader drops, so it ends too early.

    Raises:
        ValueError: when training starts, if an epoch has too few draws for a batch.
    """

    def wrapper(create_train_val_dataloader: Callable[..., tuple[Any, ...]]) -> Callable[..., Any]:
        def create_and_count_epochs(opt: dict[str, Any], logger: Logger) -> tuple[Any, ...]:
            train_loader, train_sampler, val_loaders, _, total_iters = create_train_val_dataloader(opt, logger)
            if len(train_loader) == 0:
                raise ValueError(
                    f'datasets: train: {len(train_sampler)} draws an epoch (images times dataset_enlarge_ratio, in '
                    f'each process) do not fill a batch of {train_loader.batch_size}: raise dataset_enlarge_ratio or '
                    'lower batch_size_per_gpu.'
                )
            iterations_left = total_iters - resumed.iteration
            total_epochs = resumed.epoch + math.ceil(iterations_left / len(train_loader))
            return train_loader, train_sampler, val_loaders, total_epochs, total_iters

        return create_and_count_epochs

    for train in training_modules():
        train_to_the_last_iteration.wrap(train, 'create_train_val_dataloader', wrapper)


def _remember(state: dict[str, Any], opt: dict[str, Any]) -> None:
    """Record where training resumes."""
    loaders = 1 if opt['dist'] else max(1, opt['num_gpu'])  # one loader feeds all GPUs of DataParallel
    resumed.epoch, resumed.iteration = state['epoch'], state['iter']
    resumed.batch_size = opt['datasets']['train']['batch_size_per_gpu'] * loaders
    random_states = state.get('random_states', [])
    if len(random_states) == opt['world_size']:
        resumed.random_state = random_states[opt['rank']]


def _check_that_all_resume_alike(opt: dict[str, Any], iteration: int) -> None:
    if not opt['dist']:
        return
    iterations = [0] * opt['world_size']
    torch.distributed.all_gather_object(iterations, iteration)
    if len(set(iterations)) > 1:
        raise RuntimeError(
            f'The processes would resume from different iterations ({", ".join(map(str, iterations))}): the '
            "experiment's folder has to be on a file system that all machines share."
        )


def _draws_before_resuming(epoch: int, draws_per_epoch: int) -> int:
    """Return how many draws of the resumed epoch were already trained on; 0 for any other epoch."""
    if epoch != resumed.epoch:
        return 0
    iterations_per_epoch = draws_per_epoch // resumed.batch_size  # the host drops the last, smaller batch
    done = resumed.iteration - epoch * iterations_per_epoch
    if not 0 <= done <= iterations_per_epoch:
        return 0  # dataset, batch size or number of processes changed since: start the epoch again
    return done * resumed.batch_size
