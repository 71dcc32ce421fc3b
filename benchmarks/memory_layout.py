"""Compare the memory layouts of the fast network on this machine's CPU, in training and in restoring.

    python benchmarks/memory_layout.py       # two minutes on one core

The network chooses the faster one itself (`fastest_layout` in archs/csr/fast.py); this script sets both in turn.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import NamedTuple
from unittest.mock import patch

import torch

from hifacegan_plugin.archs import CSRGenerator
from hifacegan_plugin.archs.csr import fast

LAYOUTS = {'default': torch.contiguous_format, 'channels-last': torch.channels_last}


class Case(NamedTuple):
    """A network and its batch."""

    num_feat: int
    num_scales: int
    batch: int
    side: int


CASES = (Case(16, 4, 8, 64), Case(22, 5, 1, 256), Case(32, 4, 1, 256), Case(64, 4, 1, 128))


def main() -> None:
    """Print the milliseconds of an iteration and of a restored batch in both layouts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--repeats', type=int, default=5, help='timed passes of each, after one that warms up')
    parser.add_argument('--threads', type=int, default=1, help='threads of torch (default: 1)')
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(f'{fast.CPU_CAPABILITY}, {arguments.threads} thread(s), medians of {arguments.repeats}\n')
    print(f'| width, scales, batch | | {" / ms | ".join(LAYOUTS)} / ms | ratio |\n|---|---|---:|---:|---:|')
    for case in CASES:
        for pass_name, training in (('training', True), ('restoring', False)):
            default, last = race(case, training, arguments.repeats).values()
            batch = f'{case.batch} x {case.side}x{case.side}'
            print(
                f'| {case.num_feat}, {case.num_scales}, {batch} | {pass_name} | {1000 * default:.0f} | '
                f'{1000 * last:.0f} | {last / default:.2f} |',
                flush=True,
            )


def race(case: Case, training: bool, repeats: int) -> dict[str, float]:
    """Return the median seconds of a pass in each layout; the layouts take turns."""
    network = CSRGenerator(num_feat=case.num_feat, preset='fast', num_scales=case.num_scales)
    x = torch.rand(case.batch, 3, case.side, case.side)
    seconds: dict[str, list[float]] = {name: [] for name in LAYOUTS}
    for _ in range(repeats + 1):
        for name, layout in LAYOUTS.items():
            with patch.object(fast, 'fastest_layout', return_value=layout), torch.set_grad_enabled(training):
                start = time.perf_counter()
                out = network(x)
                if training:
                    (out - x + 0.1).square().mean().backward()
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values[1:]) for name, values in seconds.items()}


if __name__ == '__main__':
    main()
