"""Small trainings through the host's command."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch
from conftest import HANGS, REPOSITORY

DEMO = REPOSITORY / 'options/hifacegan_demo.yml'
TRAIN = [sys.executable, '-m', 'basicsr.train', '-opt', DEMO]
TORCHRUN = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=2', '-m']
NAME = 'experiments/HiFaceGAN_demo'  # folder of a training with the demo's options


def environment(folder: Path) -> dict[str, str]:
    """Return an environment with one thread, in which modules in the folder and the repository can be imported."""
    path = os.pathsep.join([str(folder), str(REPOSITORY), os.environ.get('PYTHONPATH', '')])
    return {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': path.rstrip(os.pathsep)}


def run(command: list, folder: Path) -> str:
    """Run a command in ``folder`` and return its output; fail with the output if the command fails."""
    result = subprocess.run(
        list(map(str, command)),
        cwd=folder,
        env=environment(folder),
        text=True,
        capture_output=True,
        check=False,
        timeout=HANGS,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout + result.stderr


def small(database: Path, iterations: int, **others: object) -> list[str]:
    """Return arguments that shrink the demo's options; keywords may name sections, as in ``train__total_iter``."""
    options = {
        'network_g:num_feat': 4,
        'network_d:num_feat': 4,
        **short(database, iterations),
        **{key.replace('__', ':'): value for key, value in others.items()},
    }
    return forced(options)


def small_peer(database: Path) -> list[str]:
    """Return arguments that shrink the options of a peer to two iterations."""
    without = {'datasets:train:persistent_workers': 'false', 'logger:use_tb_logger': 'false'}
    return forced({'network_g:num_feat': 4, **short(database, 2), **without})


def short(database: Path, iterations: int) -> dict[str, object]:
    """Return options of a short training on a database."""
    return {
        'datasets:train:dataroot_gt': database,
        'datasets:train:num_worker_per_gpu': 0,
        'datasets:train:batch_size_per_gpu': 2,
        'datasets:val:dataroot_gt': database,
        'train:scheduler:start_iter': 1,
        'train:scheduler:end_iter': 5,
        'train:total_iter': iterations,
        'val:val_freq': 2,
        'logger:print_freq': 1,
        'logger:save_checkpoint_freq': 2,
    }


def forced(options: dict[str, object]) -> list[str]:
    """Return the arguments that set options in the host's commands."""
    return ['--force_yml', *(f'{key}={value}' for key, value in options.items())]


def write_sgd_options(folder: Path) -> Path:
    """Write the demo's options with SGD, because Adam amplifies rounding errors of gradients close to zero."""
    options = folder / 'sgd.yml'
    options.write_text(re.sub(r'type: Adam\n( +lr:).*\n.*betas.*', r'type: SGD\n\1 0.05', DEMO.read_text()))
    return options


def logged(output: str) -> dict[int, str]:
    """Return the learning rates in the host's log, by iteration."""
    return {int(n): rate for n, rate in re.findall(r'iter: +(\d+), lr:\(([\d.e+-]+),', output)}


def hear_signals() -> None:
    """Reset signals that the tests may have been started to ignore, as shells do with background jobs."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def start(command: list, folder: Path, output: Path) -> subprocess.Popen:
    """Start a command in ``folder``, in its own process group; write its output to ``output``."""
    with output.open('w') as file:
        return subprocess.Popen(
            list(map(str, command)),
            cwd=folder,
            env=environment(folder),
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=hear_signals,
        )


def wait_for_iterations(process: subprocess.Popen, output: Path, count: int) -> None:
    """Wait until a training has logged ``count`` iterations or has ended."""
    deadline = time.monotonic() + HANGS
    while len(logged(output.read_text())) < count and process.poll() is None:
        assert time.monotonic() < deadline, output.read_text()
        time.sleep(0.02)


def check_checkpoints(experiment: Path) -> int:
    """Check that all checkpoints are complete; return the iteration that the host would resume from."""
    iterations = []
    for state in experiment.glob('training_states/[0-9]*.state'):
        iterations.append(torch.load(state)['iter'])
        assert state.stem == str(iterations[-1])
        for network in 'gd':
            assert torch.load(experiment / f'models/net_{network}_{state.stem}.pth')['params']
    return max(iterations, default=0)


def assert_same_weights(experiment: Path, expected: Path, tolerance: float) -> None:
    """Check that the last weights of both networks, and the averaged weights, equal those of another training."""
    for network in 'gd':
        contents = [torch.load(place / f'models/net_{network}_latest.pth') for place in (experiment, expected)]
        for label in {'params', 'params_ema'} & set(contents[1]):
            for key, value in contents[1][label].items():
                where = f'{network}: {label}: {key}: '
                torch.testing.assert_close(
                    contents[0][label][key], value, atol=tolerance, rtol=0, msg=lambda m, where=where: where + m
                )
