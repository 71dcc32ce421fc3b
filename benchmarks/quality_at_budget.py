"""Train networks for the same time on the same images, and compare their quality at several times.

    python benchmarks/quality_at_budget.py --degradations noise full --minutes 2 5 10 --seeds 0 1 2
    python benchmarks/quality_at_budget.py --networks options/peers/edsr.yml my_network.yml --rates 5e-4 --core 1
    python benchmarks/quality_at_budget.py --table     # prints existing results without training

By default, the script uses the data of `make demo`. It trains `network_g` of each options file with Adam and an L1
loss, on the same degraded crops in the same order, for the same processor time on one core, so that other programs do
not affect the result. The learning rate is constant. At each mark (a training time in minutes), the exponential moving
average of the weights (with --ema 0, the weights) restores held-out images, each degraded --draws times. Each network
is trained with every learning rate; a table shows the rate with the best PSNR, among the rates with the most seeds.

Each training has a result file in --output, from which a second call continues. Two calls can run at the same time on
different cores. The tables show means and, in parentheses, the largest minus the smallest value over all seeds.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

os.environ['OMP_NUM_THREADS'] = '1'

import torch
import torch.nn.functional as F
from basicsr.archs import build_network
from basicsr.data import build_dataset
from basicsr.utils import tensor2img
from basicsr.utils.options import yaml_load
from torch import Tensor, nn
from torch.utils.data import ConcatDataset
from tqdm import tqdm

import hifacegan_plugin  # noqa: F401  registers its names
from hifacegan_plugin.compare.tables import markdown_table
from hifacegan_plugin.compare.worker import count_operations
from hifacegan_plugin.metrics.building import build_metrics
from hifacegan_plugin.metrics.metric import Metric, summarise
from hifacegan_plugin.models.ema import update_ema
from hifacegan_plugin.system.files import whole_file

REPOSITORY = Path(__file__).resolve().parents[1]
METRICS = {
    'PSNR': {'type': 'calculate_psnr', 'crop_border': 0},
    'SSIM': {'type': 'calculate_ssim', 'crop_border': 0},
    'MS-SSIM': {'type': 'calculate_msssim'},
    'LPIPS': {'type': 'calculate_lpips'},
    'FED': {'type': 'calculate_fed'},
    'LLE': {'type': 'calculate_lle'},
}
BATCH = 8


def main() -> None:
    """Run missing trainings and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        '--networks',
        type=Path,
        nargs='+',
        default=peers(),
        metavar='FILE',
        help='options files (default: those in options/peers with only a pixel loss)',
    )
    parser.add_argument('--degradations', nargs='+', default=['noise', 'full'], help='recipes (default: noise full)')
    parser.add_argument('--minutes', type=float, nargs='+', default=[2, 5, 10, 20], help='marks (default: 2 5 10 20)')
    parser.add_argument(
        '--rates', type=float, nargs='+', default=[2e-4, 5e-4, 1e-3], help='learning rates (default: 2e-4 5e-4 1e-3)'
    )
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2], help='default: 0 1 2')
    parser.add_argument('--ema', type=float, default=0.99, help='decay of the moving average (default: 0.99)')
    parser.add_argument('--crop', type=int, default=64, help='side of the training crops (default: 64)')
    parser.add_argument('--draws', type=int, default=5, help='degraded versions of each test image (default: 5)')
    parser.add_argument('--core', type=int, default=0, help='number of the processor core to train on (default: 0)')
    parser.add_argument('--train-data', type=Path, default=Path('datasets/demo/train.lmdb'), metavar='LMDB_OR_FOLDER')
    parser.add_argument('--test-data', type=Path, default=Path('datasets/demo/heldout.lmdb'), metavar='LMDB_OR_FOLDER')
    parser.add_argument('-o', '--output', type=Path, default=Path('results/quality_at_budget'))
    parser.add_argument('--table', action='store_true', help='print the tables without training')
    arguments = parser.parse_args()
    for data in (arguments.train_data, arguments.test_data):
        if not data.is_dir():
            parser.error(f'{data} does not exist: run `make demo` first, or name other data')
    if min(arguments.minutes) <= 0:
        parser.error('--minutes: expected numbers above 0')
    os.sched_setaffinity(0, {arguments.core})
    torch.set_num_threads(1)
    arguments.output.mkdir(parents=True, exist_ok=True)
    if not arguments.table:
        for seed, rate, degradation, network in itertools.product(
            arguments.seeds, arguments.rates, arguments.degradations, arguments.networks
        ):
            train(network, degradation, rate, seed, arguments)
    for degradation in arguments.degradations:
        for minutes in sorted(arguments.minutes):
            print(f'\n{degradation}, {minutes:g} minutes of one core\n')
            print(table(degradation, minutes, arguments))


def peers() -> list[Path]:
    """Return the options files of the peers that train with only a pixel loss."""
    files = sorted((REPOSITORY / 'options/peers').glob('*.yml'))
    return [
        file
        for file in files
        if [key for key in yaml_load(str(file))['train'] if key.endswith('_opt')] == ['pixel_opt']
    ]


def train(file: Path, degradation: str, rate: float, seed: int, arguments: argparse.Namespace) -> None:
    """Train a network up to the last mark; continue an earlier training."""
    result = result_file(file, degradation, rate, seed, arguments)
    data = [str(arguments.train_data), str(arguments.test_data)]
    settings = {'ema': arguments.ema, 'crop': arguments.crop, 'draws': arguments.draws, 'data': data}
    content: dict[str, Any] = {'settings': settings, 'marks': {}}
    if result.is_file():
        content = json.loads(result.read_text(encoding='utf-8'))
        if content['settings'] != settings:
            raise SystemExit(f'{result} was made with {content["settings"]}, not {settings}: set another --output')
    marks = [minutes for minutes in sorted(arguments.minutes) if f'{minutes:g}' not in content['marks']]
    if not marks:
        return
    reached = max(map(float, content['marks']), default=0)
    if marks[0] < reached:
        raise SystemExit(
            f'{result} has reached {reached:g} minutes and has no result at {marks[0]:g}: leave out this mark, or set '
            'another --output'
        )
    torch.manual_seed(seed)
    network = build_network(yaml_load(str(file))['network_g'])
    average = deepcopy(network).eval()
    optimizer = torch.optim.Adam(network.parameters(), rate, betas=(0.9, 0.99))
    state_file = result.with_suffix('.pth')
    step, seconds = 0, 0.0
    if content['marks'] and state_file.is_file():
        state = torch.load(state_file)
        for part, name in ((network, 'network'), (average, 'average'), (optimizer, 'optimizer')):
            part.load_state_dict(state[name])
        step, seconds = state['step'], state['seconds']
    batches = read_batches(degradation, seed, step, arguments)
    held_out = ConcatDataset(
        [
            build_dataset(data_options('test', arguments.test_data, degradation, seed=draw))
            for draw in range(arguments.draws)
        ]
    )
    with tqdm(total=60 * marks[-1], initial=round(seconds), desc=result.stem, unit='s', disable=None) as bar:
        for minutes in marks:
            network.train()
            while seconds < 60 * minutes:
                start = time.process_time()
                degraded, truth = next(batches)
                optimizer.zero_grad()
                loss = F.l1_loss(network(degraded), truth)
                loss.backward()
                optimizer.step()
                step += 1
                update_ema(average, network, min(arguments.ema, step / (step + 9)))
                seconds += time.process_time() - start
                bar.update(max(0, min(round(seconds), bar.total) - bar.n))
            content['marks'][f'{minutes:g}'] = {'steps': step, 'seconds': seconds, **measure(average, held_out)}
            content['gflop'] = count_operations(average, torch.zeros(1, 3, arguments.crop, arguments.crop)) / 1e9
            state = {
                'network': network.state_dict(),
                'average': average.state_dict(),
                'optimizer': optimizer.state_dict(),
                'step': step,
                'seconds': seconds,
            }
            # Write the results first. If the process is killed before it writes the state, it repeats this part.
            with whole_file(result) as part:
                part.write_text(json.dumps(content, indent=1), encoding='utf-8')
            with whole_file(state_file) as part:
                torch.save(state, part)


def result_file(file: Path, degradation: str, rate: float, seed: int, arguments: argparse.Namespace) -> Path:
    """Return the path of the result file of a training."""
    return arguments.output / f'{file.stem}-{degradation}-{rate:g}-{seed}.json'


def data_options(phase: str, root: Path, degradation: str, **others: Any) -> dict[str, Any]:
    """Return the options of a data set."""
    backend = {'type': 'lmdb' if root.suffix == '.lmdb' else 'disk'}
    return {
        'name': root.stem,
        'type': 'DegradationDataset',
        'phase': phase,
        'dataroot_gt': str(root),
        'io_backend': backend,
        'degradation': degradation,
        **others,
    }


def read_batches(
    degradation: str, seed: int, step: int, arguments: argparse.Namespace
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the batches starting at a step; each depends only on the seed and the step."""
    dataset = build_dataset(
        data_options(
            'train', arguments.train_data, degradation, seed=seed, gt_size=arguments.crop, use_hflip=True, use_rot=True
        )
    )
    for first in itertools.count(step * BATCH, BATCH):
        items = [dataset[index] for index in range(first, first + BATCH)]
        yield tuple(torch.stack([item[side] for item in items]) for side in ('lq', 'gt'))


@torch.no_grad()
def measure(network: nn.Module, held_out: ConcatDataset) -> dict[str, float]:
    """Return the metrics of a network on the held-out images."""
    metrics = build_metrics(METRICS)
    for item in held_out:
        height, width = item['lq'].shape[1:]
        padded = F.pad(item['lq'][None], (0, -width % 32, 0, -height % 32), mode='reflect')
        restored = network(padded)[0, :, :height, :width]
        for metric in metrics:
            metric.update(Path(item['lq_path']).stem, tensor2img(restored), tensor2img(item['gt']))
    return {metric: value for metric, value in summarise(metrics).items() if math.isfinite(value)}


def table(degradation: str, minutes: float, arguments: argparse.Namespace) -> str:
    """Return a table of means and ranges over the seeds, sorted by PSNR."""
    rows = []
    for file in arguments.networks:
        of_rate = defaultdict(list)
        for rate, seed in itertools.product(arguments.rates, arguments.seeds):
            result = result_file(file, degradation, rate, seed, arguments)
            if result.is_file():
                content = json.loads(result.read_text(encoding='utf-8'))
                if mark := content['marks'].get(f'{minutes:g}'):
                    of_rate[rate].append({**mark, 'gflop': content['gflop']})
        if of_rate:
            # Prefer rates with more seeds, because a single seed may be lucky.
            rate, marks = max(of_rate.items(), key=lambda item: (len(item[1]), mean_psnr(item[1])))
            rows.append((file.stem, rate, marks))
    rows.sort(key=lambda row: -mean_psnr(row[2]))
    measured = [
        metric
        for metric in build_metrics(METRICS)
        if any(metric.name in mark for _, _, marks in rows for mark in marks)
    ]

    def figure(marks: list[dict[str, float]], metric: Metric) -> str:
        values = [mark[metric.name] for mark in marks if metric.name in mark]
        if not values:
            return '–'
        spread = f' ({metric.format(max(values) - min(values))})' if len(values) > 1 else ''
        return metric.format(statistics.mean(values)) + spread

    return markdown_table(
        ['network', 'rate', 'seeds', *(metric.name for metric in measured), 'steps/s', 'GFLOP'],
        [
            [
                name,
                f'{rate:g}',
                str(len(marks)),
                *(figure(marks, metric) for metric in measured),
                f'{statistics.mean(mark["steps"] / mark["seconds"] for mark in marks):.2f}',
                f'{marks[0]["gflop"]:.2f}',
            ]
            for name, rate, marks in rows
        ],
    )


def mean_psnr(marks: list[dict[str, float]]) -> float:
    """Return the mean PSNR over the seeds."""
    return statistics.mean(mark['PSNR'] for mark in marks)


if __name__ == '__main__':
    sys.exit(main())
