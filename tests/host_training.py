"""A training through the host's own command, small enough for tests."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

from conftest import REPOSITORY

DEMO = REPOSITORY / 'options/hifacegan_demo.yml'
TRAIN = [sys.executable, '-m', 'basicsr.train', '-opt', DEMO]


def environment(folder: Path) -> dict[str, str]:
    """One thread, and modules beside the options file can be imported."""
    return {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': f'{folder}{os.pathsep}{REPOSITORY}'}


def run(command: list, folder: Path) -> str:
    """Run a command in ``folder`` and give what it printed; fail with that if it fails."""
    result = subprocess.run(
        list(map(str, command)), cwd=folder, env=environment(folder), text=True, capture_output=True, check=False,
        timeout=300,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout + result.stderr


def small(database: Path, iterations: int, **others: object) -> list[str]:
    """Overrides that make the demo's options small; keys may name sections as ``train__total_iter``."""
    options = {
        'datasets:train:dataroot_gt': database,
        'datasets:train:num_worker_per_gpu': 0,
        'datasets:train:batch_size_per_gpu': 2,
        'datasets:val:dataroot_gt': database,
        'network_g:num_feat': 4,
        'network_d:num_feat': 4,
        'train:scheduler:start_iter': 1,
        'train:scheduler:end_iter': 5,
        'train:total_iter': iterations,
        'val:val_freq': 2,
        'logger:print_freq': 1,
        'logger:save_checkpoint_freq': 2,
        **{key.replace('__', ':'): value for key, value in others.items()},
    }
    return ['--force_yml', *(f'{key}={value}' for key, value in options.items())]


def logged(output: str) -> dict[int, str]:
    """Learning rate by iteration, as the host's log prints them."""
    return {int(n): rate for n, rate in re.findall(r'iter: +(\d+), lr:\(([\d.e+-]+),', output)}


def start(command: list, folder: Path, output: Path) -> subprocess.Popen:
    """Start a command in ``folder``, in a process group of its own, that writes what it prints to ``output``."""
    with output.open('w') as file:
        return subprocess.Popen(
            list(map(str, command)), cwd=folder, env=environment(folder), stdout=file, stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def wait_for_iterations(process: subprocess.Popen, output: Path, count: int, timeout: float = 120) -> None:
    """Wait until a started training has logged so many iterations, or has ended."""
    deadline = time.monotonic() + timeout
    while len(logged(output.read_text())) < count and process.poll() is None:
        assert time.monotonic() < deadline, output.read_text()
        time.sleep(0.02)
