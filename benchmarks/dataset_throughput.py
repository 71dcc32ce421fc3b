"""Measure where DegradationDataset spends its time, and how much of its speed a DataLoader keeps.

    python benchmarks/dataset_throughput.py
    python benchmarks/dataset_throughput.py --dataroot datasets/ffhq_512_train.lmdb --degradation jpeg --workers 4

Without --dataroot, the script makes a temporary LMDB of 512x512 PNGs from images of scikit-image. The first table is
for one process. The second compares the data set with one that decodes and degrades the same images but returns only
their indices: the difference is the cost of crops, tensors, batches and their transfer to the trainer.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import cv2
import torch
from torch.utils.data import DataLoader, Dataset

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import hifacegan_plugin  # noqa: F401  registers the data set
from hifacegan_plugin.data import DegradationDataset, degradation_dataset, degradations
from hifacegan_plugin.images.sources import read_image


class OnlyDecodeAndDegrade(Dataset):
    """Decodes and degrades the images of a DegradationDataset, and returns their indices."""

    def __init__(self, whole: DegradationDataset) -> None:
        self.whole = whole

    def __len__(self) -> int:
        return len(self.whole)

    def __getitem__(self, index: int) -> int:
        """See :class:`OnlyDecodeAndDegrade`."""
        cv2.setNumThreads(0)
        image = read_image(self.whole.images[index])
        self.whole.degrade(image, degradations.make_generator(0, index))
        return index


def make_database(folder: str, count: int, size: int) -> Path:
    """Make an LMDB of ``count`` PNGs in BasicSR's format."""
    import skimage.data
    from basicsr.utils.lmdb_util import LmdbMaker

    path = Path(folder) / 'images.lmdb'
    maker = LmdbMaker(str(path))
    sources = [getattr(skimage.data, name)() for name in ('astronaut', 'chelsea', 'coffee', 'rocket', 'cat')]
    for i in range(count):
        image = cv2.resize(sources[i % len(sources)], (size, size), interpolation=cv2.INTER_CUBIC)
        encoded = cv2.imencode('.png', image[:, :: (-1) ** (i // len(sources)), ::-1])[1]
        maker.put(encoded.tobytes(), f'{i:04d}', image.shape)
    maker.close()
    return path


def profile(dataset: DegradationDataset, count: int) -> dict[str, float]:
    """Return the median time of each part of an item in one process, in seconds."""
    seconds = defaultdict(list)
    cv2.setNumThreads(0)
    for index in range(count):
        clock = [time.perf_counter()]
        source = dataset.images[index % len(dataset)]
        image = read_image(source)
        clock.append(time.perf_counter())
        rng = degradations.make_generator(0, index)
        prepare = dataset._draw_preparation(image.shape[:2], rng, source)
        gt = cv2.cvtColor(prepare(image), cv2.COLOR_BGR2RGB)
        clock.append(time.perf_counter())
        lq = dataset.degrade(gt, rng)
        clock.append(time.perf_counter())
        lq = degradations.fit(lq, gt.shape[0] // dataset.scale, gt.shape[1] // dataset.scale)
        for image in (lq, gt):
            degradation_dataset._to_tensor(image).float().div_(255)
        clock.append(time.perf_counter())
        for part, start, end in zip(('read and decode', 'crop and flip', 'degrade', 'to tensors'), clock, clock[1:]):
            seconds[part].append(end - start)
    return {part: statistics.median(values) for part, values in seconds.items()}


def rate(loader: DataLoader) -> float:
    """Return the images per second of one epoch, after the workers have started."""
    iterator = iter(loader)
    next(iterator)
    start = time.perf_counter()
    batches = sum(1 for _ in iterator)
    return batches * loader.batch_size / (time.perf_counter() - start)


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--dataroot', help='an LMDB or a folder; default: a temporary LMDB')
    parser.add_argument('--degradation', default='full', help='name of a recipe; default: %(default)s')
    parser.add_argument('--gt-size', type=int, default=512, help='side of the crop; default: %(default)s')
    parser.add_argument('--images', type=int, default=200, help='images in the temporary LMDB; default: %(default)s')
    parser.add_argument('--workers', type=int, default=2, help='default: %(default)s')
    parser.add_argument('--batch-size', type=int, default=2, help='default: %(default)s')
    parser.add_argument('--rounds', type=int, default=5, help='default: %(default)s')
    args = parser.parse_args()

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        root = args.dataroot or str(make_database(folder, args.images, args.gt_size))
        options = {
            'phase': 'train',
            'dataroot_gt': root,
            'degradation': args.degradation,
            'gt_size': args.gt_size,
            'use_hflip': True,
            'io_backend': {'type': 'lmdb' if root.endswith('.lmdb') else 'disk'},
        }
        dataset = DegradationDataset(options)
        parts = profile(dataset, 100)
        print(f'| one process, {args.gt_size}x{args.gt_size}, {args.degradation} | ms | share |\n|---|---|---|')
        for part, seconds in parts.items():
            print(f'| {part} | {1000 * seconds:.2f} | {seconds / sum(parts.values()):.0%} |')

        datasets = {
            'only decode and degrade': OnlyDecodeAndDegrade(dataset),
            'DegradationDataset': dataset,
            'DegradationDataset, deliver: uint8': DegradationDataset({**options, 'deliver': 'uint8'}),
        }
        loaders = {
            name: DataLoader(
                dataset,
                batch_size=args.batch_size,
                num_workers=args.workers,
                drop_last=True,
                persistent_workers=args.workers > 0,
            )
            for name, dataset in datasets.items()
        }
        rates = {name: [] for name in loaders}
        for _ in range(args.rounds):
            for name, loader in loaders.items():
                rates[name].append(rate(loader))
        medians = {name: statistics.median(values) for name, values in rates.items()}
        print(f'\n| {args.workers} workers, batches of {args.batch_size} | img/s | kept |\n|---|---|---|')
        for name, median in medians.items():
            print(f'| {name} | {median:.1f} | {median / medians["only decode and degrade"]:.0%} |')


if __name__ == '__main__':
    main()
