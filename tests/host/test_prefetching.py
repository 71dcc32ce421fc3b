"""Tests of prefetching: threads, errors, workers."""

import basicsr.train
import pytest
import torch
from basicsr.data import build_dataloader, build_dataset
from basicsr.data.data_sampler import EnlargedSampler
from basicsr.data.prefetch_dataloader import CPUPrefetcher
from PIL import Image

from hifacegan_plugin.images.image_error import ImageError


class Numbers(torch.utils.data.Dataset):
    """A data set of forty numbers, optionally one of them unreadable."""

    def __init__(self, unreadable: int | None = None) -> None:
        self.unreadable = unreadable

    def __len__(self) -> int:
        return 40

    def __getitem__(self, index: int) -> int:
        if index == self.unreadable:
            raise ValueError(f'number {index} cannot be read')
        return index


def prefetching(dataset: Numbers) -> CPUPrefetcher:
    """Build the prefetcher of the host's training loop."""
    opt = {
        'phase': 'train',
        'num_worker_per_gpu': 2,
        'batch_size_per_gpu': 1,
        'prefetch_mode': 'cpu',
        'persistent_workers': True,
    }
    return CPUPrefetcher(build_dataloader(dataset, opt, sampler=EnlargedSampler(dataset, 1, 0), seed=0))


def test_unfinished_prefetching_is_stopped():
    prefetcher = prefetching(Numbers())
    for _ in range(3):
        prefetcher.reset()
        prefetcher.next()
    last = prefetcher.loader
    prefetcher.reset()
    assert not last.is_alive()
    seen = []
    while (batch := prefetcher.next()) is not None:
        seen.append(batch.item())
    assert sorted(seen) == list(range(40))


def test_errors_in_prefetching_are_raised_in_the_training():
    prefetcher = prefetching(Numbers(unreadable=7))
    with pytest.raises(ValueError, match='number 7 cannot be read'):
        while prefetcher.next() is not None:
            pass


def test_spawned_workers_import_the_plugin(tmp_path):
    """Without the plugin, the host would decode the first frame of an animated PNG, and crafted files crash OpenCV."""
    frames = [Image.new('RGB', (8, 8), colour) for colour in ('red', 'blue')]
    frames[0].save(tmp_path / 'a.png', save_all=True, append_images=frames[1:])
    opt = {'name': 'pairs', 'type': 'PairedImageDataset', 'phase': 'train', 'dataroot_gt': tmp_path,
           'dataroot_lq': tmp_path, 'io_backend': {'type': 'disk'}, 'scale': 1, 'gt_size': 8, 'use_hflip': False,
           'use_rot': False, 'num_worker_per_gpu': 1, 'batch_size_per_gpu': 1}  # fmt: skip
    loader = build_dataloader(build_dataset(opt), opt, seed=0)
    loader.multiprocessing_context = 'spawn'
    with pytest.raises(ImageError, match=r'a\.png .*animated'):
        next(iter(loader))


def test_persistent_workers_without_workers():
    dataset = torch.utils.data.TensorDataset(torch.arange(4))
    opt = {'phase': 'train', 'num_worker_per_gpu': 0, 'batch_size_per_gpu': 2, 'persistent_workers': True}
    loader = basicsr.train.build_dataloader(dataset, opt, num_gpu=0)
    assert [len(batch) for (batch,) in loader] == [2, 2]
    assert opt['persistent_workers']
