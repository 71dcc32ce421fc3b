#!/usr/bin/env python3
"""Train the packaged networks, on a CPU (hours) or a CUDA GPU (minutes). The same command resumes a training.

    python benchmarks/train_pretrained.py general --images FOLDER [FOLDER ...] --minutes 120 -o experiments/general

All images are held in memory. Crops are degraded on the device in whole batches, which keeps a GPU busy. The loss is
the logarithm of the mean squared error of each image, that is, its PSNR (Chen et al., "Simple Baselines for Image
Restoration", ECCV 2022). The optimiser is AdamW; the learning rate follows a cosine over the given time. The saved
weights are an exponential moving average.

The output folder gets net_g.safetensors (the average, for `hifacegan restore -w`), training.pt (the state to resume
from) and log.jsonl.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pretrained_parts.augmentation import MARGIN, augment
from pretrained_parts.batch_degradations import (
    Degrade,
    by_reciprocal,
    colour_jitter,
    colour_shift,
    down_and_back,
    gaussian_blur,
    gaussian_noise,
    in_groups,
    in_order,
    jpeg,
    mixture,
    mosaic,
    motion_blur,
    paper_noise,
    shot_noise,
    shuffled,
    sometimes,
    unchanged,
)

from hifacegan_plugin.archs.csr_arch import CSRGenerator
from hifacegan_plugin.images.sources import find_images, read_image
from hifacegan_plugin.system.files import whole_file
from hifacegan_plugin.weights import generator_options, read_weights, write_weights

WARM_UP = 200  # iterations in which the learning rate rises
# Added to the mean squared error, so that gains above 30 dB hardly count. With 3e-6, small gains on clean images
# outweighed everything else: the network removed noise but left blur and JPEG artefacts.
SMALLEST_ERROR = 1e-3
WAYS_DOWN = ['area', 'bilinear', 'bicubic']  # interpolations for reducing images
PEEK = 10  # seconds between two lines of the log
SAVE = 60  # seconds between two files to resume from


def _noise() -> Degrade:
    """Gaussian noise in colour and grey, and photon noise."""
    return mixture(
        [(0.75, gaussian_noise((0, 55))), (0.1, gaussian_noise((0, 50), grey=1)), (0.15, shot_noise((0.1, 4)))]
    )


def _low_resolution(most: float) -> Degrade:
    """Sides divided by 1.2 to ``most``, and enlarged again."""
    return in_groups(down_and_back((1.2, most), WAYS_DOWN, ['bilinear', 'bicubic']))


def _compressed() -> Degrade:
    """JPEG, more often strong than weak."""
    return mixture([(0.75, in_groups(jpeg((5, 50), 0.8))), (0.25, in_groups(jpeg((50, 95), 0.8)))])


def _general() -> Degrade:
    """Noise, JPEG artefacts, blur and low resolution, alone and mixed; some images are clean."""
    some_noise = mixture([(0.7, gaussian_noise((0, 30), grey=0.3)), (0.3, shot_noise((0.1, 3)))])
    blur = mixture([(0.75, gaussian_blur((0.4, 3), (1.25, 3), isotropic=0.7)), (0.25, motion_blur((3, 13)))])
    mixed = in_groups(
        in_order(
            sometimes(0.5, blur),
            sometimes(0.5, down_and_back((1, 3), WAYS_DOWN, ['bicubic'])),
            sometimes(0.7, some_noise),
            sometimes(0.6, jpeg((10, 95), 0.8)),
        ),
    )
    return mixture(
        [
            (0.25, _noise()),
            (0.27, _compressed()),
            (0.2, blur),
            (0.05, _low_resolution(4)),
            (0.17, mixed),
            (0.06, unchanged),
        ]
    )


def _general_on_cpu() -> Degrade:
    """Noise, JPEG artefacts and blur in equal parts, mostly alone, so that a short training can separate them."""
    blurred = mixture([(0.85, gaussian_blur((0.4, 3), (1.25, 3), isotropic=0.7)), (0.15, _low_resolution(3))])
    noisy_jpeg = in_groups(in_order(gaussian_noise((0, 30), grey=0.3), jpeg((10, 95), 0.8)))
    return mixture([(0.29, _noise()), (0.3, _compressed()), (0.29, blurred), (0.05, noisy_jpeg), (0.07, unchanged)])


def _faces() -> Degrade:
    """The recipes `full`, `gfpgan`, `mosaic16x`, `noise`, `blur`, `jpeg` and `sr4x`, some changes of colour, and milder
    mixtures.
    """
    blur = mixture([(0.5, motion_blur((10, 20))), (0.5, gaussian_blur((3, 8)))])
    down = by_reciprocal((1 / 8, 1 / 4), lambda ratio: down_and_back(ratio, ['bicubic'], ['bicubic']))
    full = in_groups(shuffled(blur, paper_noise, jpeg((17, 51)), down))
    gfpgan = in_groups(
        in_order(
            gaussian_blur((0.1, 10), (2, 2), isotropic=0.5),
            down_and_back((0.8, 8), ['bilinear'], ['bilinear'], in_order(gaussian_noise((0, 20)), jpeg((60, 100)))),
        ),
    )
    recoloured = in_order(
        gfpgan,
        sometimes(0.6, colour_shift((-20, 20))),
        sometimes(0.6, colour_jitter((0.5, 1.5), (0.5, 1.5), (0, 1.5))),
    )
    sr4x = down_and_back((4, 4), ['area'], ['bicubic'])
    return mixture(
        [
            (0.4, full),
            (0.22, gfpgan),
            (0.04, recoloured),
            (0.1, mosaic(16)),
            (0.04, sr4x),
            (0.04, paper_noise),
            (0.07, blur),
            (0.04, jpeg((17, 51))),
            (0.05, _general()),
        ]
    )


@dataclass(frozen=True)
class Task:
    """A network, its degradations and its crops."""

    network: dict[str, int]
    degradation: Degrade
    crop: int  # side, in pixels
    scales: tuple[float, ...]  # each image is used at these sizes
    transpose: bool  # whether crops are also turned by 90 degrees and upside down, not only mirrored
    batches: dict[str, int]  # images in a batch, by device
    augmented: bool = False  # whether crops are warped and recoloured, as few images require


GENERAL = {'num_feat': 32, 'num_scales': 4}  # the network that the first two tasks train

TASKS = {
    'general': Task(GENERAL, _general(), 128, (1, 0.7, 0.5), True, {'cuda': 64, 'cpu': 6}),
    # To fine-tune `general` on a CPU: small crops allow many images in a batch.
    'general_on_cpu': Task(GENERAL, _general_on_cpu(), 64, (1, 0.7, 0.5), True, {'cuda': 256, 'cpu': 15}),
    'faces': Task(
        {'num_feat': 24, 'num_scales': 5}, _faces(), 256, (1, 0.88), False, {'cuda': 48, 'cpu': 2}, augmented=True
    ),
}


def side_to_draw(task: Task, crop: int) -> int:
    """Return the side of the crops to cut out of images, from which the batch gets crops of side ``crop``."""
    return math.ceil(MARGIN * crop) if task.augmented else crop


class Crops:
    """Crops of images that are all stored in one flat tensor on the device, so that a batch is a single lookup."""

    def __init__(self, images: list[np.ndarray], device: torch.device) -> None:
        sizes = torch.tensor([image.shape[:2] for image in images])
        areas = sizes.prod(1)
        self.heights, self.widths = sizes.to(device).unbind(1)
        self.starts, self.chances = (areas.cumsum(0) - areas).to(device), areas.float().to(device)
        self.pixels = torch.from_numpy(np.concatenate([image.reshape(-1, 3) for image in images])).to(device)

    def draw(self, count: int, side: int, transpose: bool) -> Tensor:
        """Return ``(count, 3, side, side)``, float32 in [0, 255]; large images are drawn more often.

        Each crop is mirrored at random; with ``transpose`` it is also turned upside down and by 90 degrees.
        """
        chosen = self.chances.multinomial(count, replacement=True)
        heights, widths = self.heights[chosen], self.widths[chosen]
        down, across = (
            torch.rand(2, count, 1, 1, device=chosen.device)
            * torch.stack([heights, widths]).sub(side - 1)[..., None, None]
        ).long()
        flip_down, flip_across, swap = torch.rand(3, count, 1, 1, device=chosen.device) < 0.5
        line = torch.arange(side, device=chosen.device)
        back = side - 1 - line
        rows = torch.where(flip_down & transpose, back, line)
        columns = torch.where(flip_across, back, line)
        swap = swap & transpose
        index_down, index_across = torch.where(swap, rows, rows.mT), torch.where(swap, columns.mT, columns)
        index = self.starts[chosen][:, None, None] + (down + index_down) * widths[:, None, None] + across + index_across
        return self.pixels[index].permute(0, 3, 1, 2).float()


def read_images(folders: list[Path], smallest: int, scales: tuple[float, ...]) -> list[np.ndarray]:
    """Read all images below folders, RGB uint8, at each of the scales at which they are large enough."""
    try:
        sources = find_images([str(folder) for folder in folders], 'disk', option='--images')
        originals = [read_image(source) for source in sources]
    except (ValueError, OSError) as error:
        raise SystemExit(f'{error}') from error
    images = []
    for image in originals:
        for scale in scales:
            size = [round(side * scale) for side in image.shape[1::-1]]
            if min(size) >= smallest:
                resized = image if scale == 1 else cv2.resize(image, size, interpolation=cv2.INTER_AREA)
                images.append(cv2.cvtColor(resized, cv2.COLOR_BGR2RGB))
    if not images:
        raise SystemExit(f'--images: all images are smaller than {smallest} pixels.')
    return images


def rate_at(progress: float, iteration: int, peak: float) -> float:
    """Return the learning rate: a short rise, then a cosine to zero."""
    return peak * min(1, iteration / WARM_UP) * (1 + math.cos(math.pi * min(progress, 1))) / 2


def psnr_loss(restored: Tensor, truth: Tensor) -> Tensor:
    """Return minus the mean PSNR in units of 10 dB, of images in [0, 1]."""
    return (restored.float() - truth).square().mean((1, 2, 3)).add(SMALLEST_ERROR).log10().mean()


class Training:
    """A network, its optimiser and its moving average, which are saved and resumed together."""

    def __init__(self, task: Task, args: argparse.Namespace) -> None:
        self.args, self.task = args, task
        self.device = torch.device(args.device)
        torch.manual_seed(args.seed)
        self.rng = np.random.default_rng(args.seed)
        self.network = CSRGenerator(preset='fast', **task.network).to(self.device)
        if self.device.type == 'cuda':
            self.network.to(memory_format=torch.channels_last)
        self.average = deepcopy(self.network).eval().requires_grad_(False)
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), args.rate, (0.9, 0.99), weight_decay=args.decay, fused=self.device.type == 'cuda'
        )
        self.iteration, self.elapsed = 0, 0.0
        self.state_file = args.output / 'training.pt'
        if self.state_file.exists():
            self._load(torch.load(self.state_file, map_location=self.device, weights_only=True))
        if args.init and not self.iteration:
            self.network.load_state_dict(read_weights(args.init)[0])
            self.average.load_state_dict(self.network.state_dict())
        self.forward: Callable[[Tensor], Tensor] = torch.compile(self.network) if args.compile else self.network

    def draw(self, crops: Crops) -> Tensor:
        """Return a batch of clean crops, ``(N, 3, side, side)`` in [0, 255]."""
        images = crops.draw(self.args.batch, side_to_draw(self.task, self.args.crop), self.task.transpose)
        return augment(images, self.args.crop, self.rng) if self.task.augmented else images

    def step(self, crops: Crops) -> Tensor:
        """Train on one batch; return its loss without waiting for the device."""
        truth = self.draw(crops)
        degraded = self.task.degradation(truth.clone(), self.rng)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.args.bf16):
            restored = self.forward(degraded.div_(255))
        loss = psnr_loss(restored, truth.div_(255))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0, foreach=True)
        progress = self.elapsed / (60 * self.args.minutes)
        for group in self.optimizer.param_groups:
            group['lr'] = rate_at(progress, self.iteration, self.args.rate)
        self.optimizer.step()
        self.iteration += 1
        decay = min(self.args.ema, (1 + self.iteration) / (10 + self.iteration))
        torch._foreach_lerp_(list(self.average.parameters()), list(self.network.parameters()), 1 - decay)
        return loss.detach()

    def run(self, crops: Crops) -> None:
        """Train until the time is over; log and save on the way."""
        log = (self.args.output / 'log.jsonl').open('a')
        before, last_line, last_save = self.elapsed, 0.0, 0.0
        began = time.perf_counter()
        losses: list[Tensor] = []
        while self.elapsed < 60 * self.args.minutes:
            losses.append(self.step(crops))
            self.elapsed = before + time.perf_counter() - began
            if self.elapsed - last_line > PEEK:
                line = {
                    'iteration': self.iteration,
                    'seconds': round(self.elapsed, 1),
                    'psnr': round(-10 * float(torch.stack(losses).mean()), 3),
                }
                print(json.dumps(line), flush=True)
                print(json.dumps(line), file=log, flush=True)
                losses, last_line = [], self.elapsed
            if self.elapsed - last_save > SAVE:
                self.save()
                last_save = self.elapsed
        self.save()

    def save(self) -> None:
        """Write the averaged weights and the state to resume from."""
        options = generator_options(self.average)
        write_weights(self.args.output / 'net_g.safetensors', self.average.state_dict(), options)
        state = {
            'network': self.network.state_dict(),
            'average': self.average.state_dict(),
            'optimizer': self.optimizer.state_dict(),
            'iteration': self.iteration,
            'elapsed': self.elapsed,
        }
        with whole_file(self.state_file) as part:
            torch.save(state, part)

    def _load(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state['network'])
        self.average.load_state_dict(state['average'])
        self.optimizer.load_state_dict(state['optimizer'])
        self.iteration, self.elapsed = state['iteration'], state['elapsed']
        self.rng = np.random.default_rng([self.args.seed, self.iteration])
        torch.manual_seed(self.args.seed + self.iteration)
        print(f'{self.state_file}: resuming at iteration {self.iteration}, after {self.elapsed:.0f} s.')


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('task', choices=TASKS)
    parser.add_argument('--images', nargs='+', type=Path, required=True, metavar='FOLDER', help='clean images')
    parser.add_argument('-o', '--output', type=Path, required=True, help='output folder; resumes the training in it')
    parser.add_argument('--minutes', type=float, default=120, help='of the whole training (default: %(default)s)')
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--batch', type=int, help='images in a batch (default: by task and device)')
    parser.add_argument('--crop', type=int, help='side of the crops, in pixels (default: by task)')
    parser.add_argument('--rate', type=float, default=1e-3, help='highest learning rate (default: %(default)s)')
    parser.add_argument('--decay', type=float, default=1e-4, help='weight decay (default: %(default)s)')
    parser.add_argument('--ema', type=float, default=0.999, help='of the moving average (default: %(default)s)')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--init', type=Path, help='weights to begin with')
    parser.add_argument('--compile', action=argparse.BooleanOptionalAction, help='default: on CUDA')
    parser.add_argument('--bf16', action=argparse.BooleanOptionalAction, help='default: on CUDA')
    args = parser.parse_args()
    device = args.device.split(':')[0]
    args.batch = args.batch or TASKS[args.task].batches[device]
    args.crop = args.crop or TASKS[args.task].crop
    for option in ('compile', 'bf16'):
        if getattr(args, option) is None:
            setattr(args, option, device == 'cuda')
    return args


def main() -> None:
    """Train a network."""
    args = parse()
    task = TASKS[args.task]
    args.output.mkdir(parents=True, exist_ok=True)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    images = read_images(args.images, side_to_draw(task, args.crop), task.scales)
    print(
        f'{len(images)} images, {sum(image.size for image in images) / 1e6:.0f} MB; '
        f'{args.device}, batches of {args.batch} crops of {args.crop} pixels, {args.minutes:g} minutes',
        flush=True,
    )
    Training(task, args).run(Crops(images, torch.device(args.device)))


if __name__ == '__main__':
    main()
