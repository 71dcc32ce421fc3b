"""Measure the memory of a training iteration of the CSR network, with and without the options that save memory.

    python benchmarks/training_memory.py                          # a minute
    python benchmarks/training_memory.py --num-feat 48 --size 512

Each setting runs three iterations in a separate process. The memory is the peak of the process minus its memory after
the model was built. The time is that of the last iteration.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import os
import resource
import time
from pathlib import Path
from typing import Any

import torch
from training import model

SETTINGS: dict[str, dict[str, Any]] = {
    'default': {},
    'gradient_checkpointing': {'gradient_checkpointing': True},
    'amp: bf16': {'amp': 'bf16'},
    'amp: bf16, gradient_checkpointing': {'amp': 'bf16', 'gradient_checkpointing': True},
}


def measure(options: dict[str, Any], num_feat: int, size: int, batch: int) -> tuple[float, float]:
    """Train three iterations; return their memory in GiB and the seconds of the last one."""
    torch.set_num_threads(2)
    logging.disable(logging.WARNING)
    networks = {
        'network_g': {'type': 'CSRGenerator', 'num_feat': num_feat},
        'network_d': {'type': 'MultiscalePatchDiscriminator', 'num_feat': num_feat},
    }
    trained = model('HiFaceGANCSRModel', networks, **options)
    images = torch.rand(batch, 3, size, size)
    before = int(Path('/proc/self/statm').read_text().split()[1]) * os.sysconf('SC_PAGE_SIZE')
    for iteration in (1, 2, 3):
        start = time.perf_counter()
        trained.feed_data({'lq': images, 'gt': images.flip(3)})
        trained.optimize_parameters(iteration)
        seconds = time.perf_counter() - start
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before) / 2**30, seconds


def main() -> None:
    """Measure all settings and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--num-feat', type=int, default=16, help='width of both networks (default: 16)')
    parser.add_argument('--size', type=int, default=256, help='side of the crops (default: 256)')
    parser.add_argument('--batch', type=int, default=2, help='images in a batch (default: 2)')
    arguments = parser.parse_args()
    print(f'| num_feat {arguments.num_feat}, {arguments.batch} crops of {arguments.size} | GiB | s / iteration |')
    print('|---|---:|---:|')
    for name, options in SETTINGS.items():
        with multiprocessing.get_context('spawn').Pool(1) as pool:
            memory, seconds = pool.apply(measure, (options, arguments.num_feat, arguments.size, arguments.batch))
        print(f'| {name} | {memory:.2f} | {seconds:.2f} |', flush=True)


if __name__ == '__main__':
    main()
