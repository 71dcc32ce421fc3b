"""Tests of the host's sampler and loaders, also in resumed trainings."""

import logging
from collections.abc import Iterator

import basicsr.train
import pytest
import torch
from basicsr.data import build_dataloader
from basicsr.data.data_sampler import EnlargedSampler
from basicsr.data.prefetch_dataloader import CPUPrefetcher

from hifacegan_plugin.host import sampling
from hifacegan_plugin.host.sampling import ResumePoint
from hifacegan_plugin.system.random_state import random_state


class Drawing:
    """A data set of ten images that receives its draws."""

    epoch = None

    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> int:
        return index

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch


@pytest.fixture(autouse=True)
def not_resumed(monkeypatch):
    monkeypatch.setattr(sampling, 'resumed', ResumePoint())


@pytest.mark.parametrize('processes', [1, 3])
def test_datasets_with_draws_get_each_draw_of_an_epoch_once(processes):
    dataset = Drawing()
    draws = []
    for rank in range(processes):
        sampler = EnlargedSampler(dataset, processes, rank, ratio=4)
        sampler.set_epoch(2)
        draws += list(sampler)
    assert dataset.epoch == 2
    assert sorted(draws) == list(range(-(-40 // processes) * processes))


def test_other_datasets_get_the_hosts_indices():
    sampler = EnlargedSampler(range(10), 1, 0, ratio=4)
    sampler.set_epoch(1)
    generator = torch.Generator().manual_seed(1)
    assert list(sampler) == [v % 10 for v in torch.randperm(40, generator=generator).tolist()]


@pytest.mark.parametrize(('iteration', 'epoch', 'left'), [(0, 0, 40), (3, 0, 28), (10, 0, 0), (10, 1, 40), (13, 1, 28)])
def test_a_resumed_epoch_continues(iteration, epoch, left, monkeypatch):
    sampler = EnlargedSampler(Drawing(), 1, 0, ratio=4)
    sampler.set_epoch(epoch)
    whole = list(sampler)
    monkeypatch.setattr(sampling, 'resumed', ResumePoint(epoch, iteration, batch_size=4))
    assert list(sampler) == whole[40 - left :]
    sampler.set_epoch(epoch + 1)
    assert len(list(sampler)) == 40


def test_a_resumed_epoch_starts_over_if_batch_or_data_changed(monkeypatch):
    sampler = EnlargedSampler(Drawing(), 1, 0, ratio=4)
    monkeypatch.setattr(sampling, 'resumed', ResumePoint(0, 30, batch_size=4))
    assert len(list(sampler)) == 40


def numbers_drawn(prefetcher: CPUPrefetcher, sampler: EnlargedSampler, epoch: int) -> Iterator[float]:
    """Draw a random number for each batch of an epoch in the host's training loop."""
    sampler.set_epoch(epoch)
    prefetcher.reset()
    while prefetcher.next() is not None:
        yield torch.rand(()).item()


def create_loaders(monkeypatch, batch_size: int) -> tuple:
    """Build the host's loader of ten images for a training of forty iterations."""
    monkeypatch.setattr(basicsr.train, 'build_dataset', lambda options: Drawing())
    options = {'phase': 'train', 'num_worker_per_gpu': 0, 'batch_size_per_gpu': batch_size}
    opt = {
        'datasets': {'train': options},
        'world_size': 1,
        'rank': 0,
        'num_gpu': 0,
        'dist': False,
        'manual_seed': 0,
        'train': {'total_iter': 40},
    }
    return basicsr.train.create_train_val_dataloader(opt, logging.getLogger())


@pytest.mark.parametrize(
    'resumed_at',
    [
        ResumePoint(),
        ResumePoint(18, 37, batch_size=4),
        ResumePoint(4, 20, batch_size=4),  # with another batch size
    ],
    ids=str,
)
def test_a_training_reaches_its_last_iteration(resumed_at, monkeypatch):
    monkeypatch.setattr(sampling, 'resumed', resumed_at)
    loader, sampler, _, epochs, _ = create_loaders(monkeypatch, batch_size=4)
    iterations = [resumed_at.iteration]
    for epoch in range(resumed_at.epoch, epochs + 1):  # like the host's training loop
        sampler.set_epoch(epoch)
        iterations.append(iterations[-1] + len(list(loader)))
    assert iterations[-1] >= 40 > iterations[-3]


def test_too_few_images_for_a_batch_are_reported(monkeypatch):
    with pytest.raises(ValueError, match=r'10 draws an epoch .* do not fill a batch of 11: raise dataset_enl'):
        create_loaders(monkeypatch, batch_size=11)


@pytest.mark.parametrize('epoch', [0, 1])
@pytest.mark.parametrize('workers', [0, 1])
def test_random_numbers_of_a_resumed_training(workers, epoch, monkeypatch):
    opt = {'phase': 'train', 'num_worker_per_gpu': workers, 'batch_size_per_gpu': 2}

    def start() -> tuple[CPUPrefetcher, EnlargedSampler]:
        sampler = EnlargedSampler(Drawing(), 1, 0)
        return CPUPrefetcher(build_dataloader(sampler.dataset, opt, sampler=sampler, seed=0)), sampler

    uninterrupted = start()
    for earlier in range(epoch):
        assert len(list(numbers_drawn(*uninterrupted, earlier))) == 5
    numbers = numbers_drawn(*uninterrupted, epoch)
    for _ in range(2):
        next(numbers)
    state = ResumePoint(epoch, 5 * epoch + 2, batch_size=2, random_state=random_state())
    rest = list(numbers)
    monkeypatch.setattr(sampling, 'resumed', state)
    assert list(numbers_drawn(*start(), epoch)) == rest
    assert len(rest) == 3
