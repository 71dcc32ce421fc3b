"""Measure how fast images are read and degraded, which may limit training."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from gpu_parts.results import REPOSITORY, Results
from gpu_parts.timing import batch_of, rates, timed


def measure_degradations(results: Results, quick: bool) -> None:
    """Measure degradations of batches on the device, as in the training of the packaged networks."""
    from train_pretrained import TASKS

    for name, task in TASKS.items():
        count, side = (2, 64) if quick else (task.batches['cuda'], task.crop)
        images = 255 * batch_of(count, side, results.device)['gt']
        rng = np.random.default_rng(0)

        def degrade(task: Any = task, images: Any = images, rng: Any = rng) -> dict[str, Any]:
            return rates(timed(lambda: task.degradation(images, rng), results.device), len(images))

        results.measure('Degradations on the device', f'{name}, {count} x {side}x{side}', degrade)


def measure_data(results: Results, quick: bool) -> None:
    """Measure the data set alone, with a worker for each of up to 16 cores."""
    import cv2
    from basicsr.utils.options import yaml_load
    from torch.utils.data import DataLoader

    from hifacegan_plugin.data.degradation_dataset import DegradationDataset

    workers = min(16, os.cpu_count() or 1)
    mild = yaml_load(str(REPOSITORY / 'options/hifacegan_mild.yml'))['datasets']['train']['degradation']

    def loaded(folder: Path, recipe: Any, crop: int, count: int) -> dict[str, Any]:
        dataset = DegradationDataset(
            {
                'phase': 'train',
                'name': 'images',
                'dataroot_gt': str(folder),
                'gt_size': crop,
                'degradation': recipe,
                'io_backend': {'type': 'disk'},
                'deliver': 'uint8',
            }
        )
        indices = range(count * (4 if quick else 2000))
        loader = DataLoader(dataset, count, sampler=indices, num_workers=workers, prefetch_factor=4)
        batches = iter(loader)
        for _ in range(2 if quick else 4 * workers if count < 8 else workers):  # warm-up
            next(batches)
        start, images = time.perf_counter(), 0
        for batch in batches:
            images += len(batch['lq'])
            if time.perf_counter() - start > (1 if quick else 5):
                break
        seconds = time.perf_counter() - start
        del batches
        return {'images/s': images / seconds, 'workers': workers}

    with tempfile.TemporaryDirectory() as name:
        rng = np.random.default_rng(0)
        for index in range(8 if quick else 64):
            coarse = rng.integers(0, 256, (64, 64, 3), np.uint8)
            cv2.imwrite(f'{name}/{index}.png', cv2.resize(coarse, (512, 512), interpolation=cv2.INTER_CUBIC))
        results.measure('Data alone', 'full, crops of 512, batch 2', lambda: loaded(Path(name), 'full', 512, 2))
        results.measure('Data alone', 'mild, crops of 128, batch 64', lambda: loaded(Path(name), mild, 128, 64))
