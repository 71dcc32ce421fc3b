"""Train all networks of a folder of options for the same time, on one core or a GPU, and compare them.

    python benchmarks/train_peers.py --degradation noise --budget 600 --core 0
    python benchmarks/train_peers.py --degradation full --budget 600 --core 1 --peers csr edsr swinir
    python benchmarks/train_peers.py --folder faces_peers --degradation full --budget 1200

options/peers uses the data of `make demo`, options/faces_peers that of `make faces`. Each network trains through
BasicSR's command, on an NVIDIA GPU if available, otherwise on one core. On a core, the budget is processor time, so
that other programs do not affect the result. Short runs first measure the time per iteration, which determines how
many iterations fit the budget. The learning rate is constant for the first half of the iterations and then falls to
zero. The table shows the time of the whole training, including startup and validation.

Times and trained networks are stored: a second call trains only missing networks and compares all. It stops with an
error if crops or data have changed. The folder results/FOLDER_DEGRADATION_BUDGETs[_seedSEED] contains training.md and
the output of `hifacegan compare`.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml
from basicsr.utils.options import yaml_load

from hifacegan_plugin.compare.comparison import Comparison
from hifacegan_plugin.compare.runner import compare
from hifacegan_plugin.compare.tables import markdown_table
from hifacegan_plugin.schema.comparison import Page
from hifacegan_plugin.system.files import whole_file

REPOSITORY = Path(__file__).resolve().parents[1]
OPTIONS = REPOSITORY / 'options'
FOLDERS = ('peers', 'faces_peers')

ON_GPU = torch.cuda.is_available()
PACE_ITERATIONS = (100, 400) if ON_GPU else (8, 32)  # lengths of two runs; their difference gives the pace


class Training(NamedTuple):
    """The length and cost of a training."""

    iterations: int
    seconds: float  # including startup and validation


def main() -> None:
    """Train and compare the networks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        '--budget', type=float, default=600, metavar='SECONDS', help='time for each network (default: 600)'
    )
    parser.add_argument('--degradation', default='noise', help='recipe, such as noise (default) or full')
    parser.add_argument(
        '--core', type=int, default=0, help='number of the processor core to train on, without a GPU (default: 0)'
    )
    parser.add_argument('--folder', choices=FOLDERS, default=FOLDERS[0], help='folder in options/ (default: peers)')
    parser.add_argument('--seed', type=int, default=0, help='seed of weights, crops and degradations (default: 0)')
    parser.add_argument(
        '--peers', nargs='+', metavar='PEER', help='names of options files (default: all of the folder)'
    )
    parser.add_argument('--crop', type=int, help='side of the training crops (default: as in the options files)')
    parser.add_argument('--train-data', type=Path, metavar='LMDB', help='default: as in the options files')
    parser.add_argument('--test-data', type=Path, metavar='LMDB', help='default: as in the options files')
    arguments = parser.parse_args()
    complete(arguments, parser)
    os.environ['OMP_NUM_THREADS'] = '1'
    if not ON_GPU:
        os.sched_setaffinity(0, {arguments.core})

    results = Path(f'results/{arguments.folder}_{setting(arguments)}')
    results.mkdir(parents=True, exist_ok=True)
    check_settings(arguments, results)
    paces = {peer: pace(peer, arguments, results) for peer in arguments.peers}
    trainings = {}
    for peer, seconds in paces.items():
        trainings[peer] = train(peer, max(1, int(arguments.budget / seconds)), arguments, results)
        print(f'{peer}: {trainings[peer].iterations} iterations in {trainings[peer].seconds:.0f} s', flush=True)
    table = markdown_table(
        ['network', 'iterations', 'seconds on a GPU' if ON_GPU else 'seconds of one core'],
        [[peer, str(training.iterations), f'{training.seconds:.0f}'] for peer, training in trainings.items()],
    )
    (results / 'training.md').write_text(table + '\n', encoding='utf-8')
    compare(comparison_of(arguments, results), results / 'comparison', resume=True)
    print(f'\n{table}')


def complete(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Set missing arguments to the values in the options files, which are the same in all; exit if data are missing."""
    available = sorted(file.stem for file in (OPTIONS / arguments.folder).glob('*.yml'))
    arguments.peers = arguments.peers or available
    if unknown := [peer for peer in arguments.peers if peer not in available]:
        parser.error(f'--peers: options/{arguments.folder} has no {unknown[0]}. It has: {", ".join(available)}')
    datasets = yaml_load(str(OPTIONS / arguments.folder / f'{available[0]}.yml'))['datasets']
    arguments.crop = arguments.crop or datasets['train']['gt_size']
    arguments.train_data = arguments.train_data or Path(datasets['train']['dataroot_gt'])
    arguments.test_data = arguments.test_data or Path(datasets['val']['dataroot_gt'])
    for data in (arguments.train_data, arguments.test_data):
        if not data.is_dir():
            parser.error(f'{data} does not exist: run `make demo` or `make faces` first, or name other data')


def check_settings(arguments: argparse.Namespace, results: Path) -> None:
    """Store crop and data, or check that they are the same as in an earlier call.

    Raises:
        SystemExit: they differ, so the stored results do not belong to these settings.
    """
    data = (arguments.train_data, arguments.test_data)
    settings = {'crop': arguments.crop, 'data': {str(database): fingerprint(database) for database in data}}
    kept = results / 'settings.yml'
    if not kept.is_file():
        with whole_file(kept) as part:
            part.write_text(yaml.safe_dump(settings), encoding='utf-8')
    then = yaml.safe_load(kept.read_text(encoding='utf-8'))
    if then != settings:
        raise SystemExit(f'{results} was made with {then}, not {settings}: move it away')


def fingerprint(database: Path) -> str:
    """Return a hash of the keys, shapes and, if available, checksums of a database."""
    return hashlib.sha256(b''.join(file.read_bytes() for file in sorted(database.glob('*.txt')))).hexdigest()[:16]


def pace(peer: str, arguments: argparse.Namespace, results: Path) -> float:
    """Return the seconds per iteration, measured now or in an earlier call."""
    kept = results / f'{peer}.pace'
    if not kept.is_file():
        name = f'{experiment(peer, arguments)}_pace'
        short, long = (run_host(peer, name, iterations, arguments) for iterations in PACE_ITERATIONS)
        shutil.rmtree(f'experiments/{name}')
        kept.write_text(f'{(long - short) / (PACE_ITERATIONS[1] - PACE_ITERATIONS[0]):.4f}\n', encoding='utf-8')
    seconds = float(kept.read_text(encoding='utf-8'))
    print(f'{peer}: {seconds:.3f} s per iteration', flush=True)
    return seconds


def train(peer: str, iterations: int, arguments: argparse.Namespace, results: Path) -> Training:
    """Train a network, unless an earlier call did."""
    name = experiment(peer, arguments)
    done = results / f'{peer}.yml'
    if not (done.is_file() and Path(f'experiments/{name}/models/net_g_latest.pth').is_file()):
        training = Training(iterations, round(run_host(peer, name, iterations, arguments), 1))
        done.write_text(yaml.safe_dump(training._asdict()), encoding='utf-8')
    return Training(**yaml.safe_load(done.read_text(encoding='utf-8')))


def run_host(peer: str, name: str, iterations: int, arguments: argparse.Namespace) -> float:
    """Run BasicSR's training and return its duration in seconds.

    Raises:
        SystemExit: the training failed; the message contains the end of its log.
    """
    changes = {
        'name': name,
        'manual_seed': arguments.seed,
        'datasets:train:seed': arguments.seed,
        'datasets:train:degradation': arguments.degradation,
        'datasets:train:dataroot_gt': arguments.train_data,
        'datasets:train:gt_size': arguments.crop,
        'datasets:val:degradation': arguments.degradation,
        'datasets:val:dataroot_gt': arguments.test_data,
        'train:total_iter': iterations,
        'train:scheduler:start_iter': iterations // 2,
        'train:scheduler:end_iter': iterations,
        'val:val_freq': iterations + 1,  # validate only at the end, because validation takes time
        'logger:print_freq': max(1, iterations // 20),
        'logger:save_checkpoint_freq': iterations + 1,
        'logger:use_tb_logger': 'false',
    }
    if ON_GPU:  # one worker is too slow for a GPU
        changes['datasets:train:num_worker_per_gpu'] = max(1, (os.cpu_count() or 1) - 2)
    print(f'{name}: {iterations} iterations', flush=True)
    command = [
        sys.executable,
        '-m',
        'basicsr.train',
        '-opt',
        str(OPTIONS / arguments.folder / f'{peer}.yml'),
        '--force_yml',
        *(f'{key}={value}' for key, value in changes.items()),
    ]
    before = clock()
    process = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if process.returncode:
        raise SystemExit(f'{name}: the training failed:\n' + '\n'.join(process.stdout.splitlines()[-15:]))
    return clock() - before


def clock() -> float:
    """Return the time that counts for the budget, in seconds: wall-clock time on a GPU, otherwise processor time."""
    if ON_GPU:
        return time.perf_counter()
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return children.ru_utime + children.ru_stime


def comparison_of(arguments: argparse.Namespace, results: Path) -> Comparison:
    """Return the comparison of the trained networks."""
    opt: dict[str, Any] = yaml_load(str(OPTIONS / f'compare_{arguments.folder}.yml'))
    for options in opt['datasets'].values():
        options.update(degradation=arguments.degradation, dataroot_gt=str(arguments.test_data))
    restorers = {}
    for label, options in opt['restorers'].items():
        peer = re.search(r'peer_(\w+)/', options.get('pretrain_network_g', ''))
        if peer is None:
            restorers[label] = options
        elif peer[1] in arguments.peers:
            weights = f'experiments/{experiment(peer[1], arguments)}/models/net_g_latest.pth'
            restorers[label] = {**options, 'pretrain_network_g': weights}
    against = opt['against'] if opt['against'] in restorers else None
    return Comparison(results.name, opt['datasets'], restorers, opt['metrics'], Page(**opt['page']), against)


def experiment(peer: str, arguments: argparse.Namespace) -> str:
    """Return the name of a training, which is also the name of its folder."""
    name = yaml_load(str(OPTIONS / arguments.folder / f'{peer}.yml'))['name']
    return f'{name}_{setting(arguments)}'


def setting(arguments: argparse.Namespace) -> str:
    """Return the suffix of names: degradation, budget and, unless it is 0, the seed."""
    seed = f'_seed{arguments.seed}' if arguments.seed else ''
    return f'{arguments.degradation}_{arguments.budget:.0f}s{seed}'


if __name__ == '__main__':
    main()
