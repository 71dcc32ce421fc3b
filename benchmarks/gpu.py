"""Test the plugin on an NVIDIA GPU and measure its speed, in less than eight minutes.

    make gpu                                       # all three parts
    python benchmarks/gpu.py --check               # tests marked cuda; also compiles networks for the other parts
    python benchmarks/gpu.py --train               # images/s in training, compared with BasicSR and a plain update
    python benchmarks/gpu.py --infer               # milliseconds per image, compared with BasicSR's network
    python benchmarks/gpu.py --quick --device cpu  # rehearsal with tiny sizes

A rehearsal on a CPU leaves out what needs a GPU: CUDA graphs, float16, memory, synchronizations. It does not compile
networks, because a C++ compiler takes minutes for each; set TORCH_COMPILE_DISABLE=0 to compile them.

Exit status: 0 everything was measured and all tests passed, 1 something failed or ran out of time, 2 there is no GPU.

Each part has a time limit. It rewrites ``gpu-PART.json`` and ``gpu-PART.md`` after each measurement, so an interrupted
run keeps its results. If a measurement fails, its traceback is recorded and the next one starts.

All contestants have random weights and train without perceptual loss, because it needs the weights of VGG19. Batches
are already on the GPU. Times are medians of wall-clock time between two synchronizations, after a warm-up. The most
important measurements come first; plain float32, for which cuDNN's search takes long, comes last.
"""

from __future__ import annotations

import argparse
import faulthandler
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from gpu_parts.checking import check, compile_beforehand
from gpu_parts.inference import measure_inference
from gpu_parts.results import Results
from gpu_parts.training import measure_training

PARTS = {'check': check, 'train': measure_training, 'infer': measure_inference}
LIMITS = {'check': 150, 'train': 160, 'infer': 110}  # seconds; with GRACE for each, eight minutes
REHEARSAL = 30  # factor for the limits on a CPU
GRACE = 20  # seconds that a measurement in progress may take beyond its limit before the process ends


def main() -> int:
    """Run the selected parts; several parts run in a process each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for part, limit in LIMITS.items():
        parser.add_argument(f'--{part}', action='store_true', help=f'run this part (at most {limit} s)')
    parser.add_argument('--device', choices=('cuda', 'cpu'), default='cuda')
    parser.add_argument('--quick', action='store_true', help='rehearse with tiny networks and images')
    parser.add_argument('-o', '--output', type=Path, default=Path('benchmarks/on_gpu'), help='folder of the results')
    parser.add_argument('--compile', type=Path, help=argparse.SUPPRESS)  # the file that --check reads
    arguments = parser.parse_args()
    if arguments.device == 'cuda' and not torch.cuda.is_available():
        print('gpu.py: torch finds no CUDA device. To rehearse, use --device cpu --quick.', file=sys.stderr)
        return 2
    device = torch.device(arguments.device)
    if device.type == 'cpu':
        os.environ.setdefault('TORCH_COMPILE_DISABLE', '1')  # for the test processes
        torch._dynamo.config.disable = os.environ['TORCH_COMPILE_DISABLE'] == '1'
    logging.disable(logging.INFO)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that child processes are ended
    if arguments.compile:
        compile_beforehand(arguments.compile, arguments.quick, device)
        return 0
    parts = [part for part in PARTS if getattr(arguments, part)] or list(PARTS)
    if len(parts) > 1:
        words = ['--device', arguments.device, '-o', str(arguments.output), *['--quick'] * arguments.quick]
        return max([subprocess.run([sys.executable, __file__, f'--{part}', *words]).returncode for part in parts])
    limit = LIMITS[parts[0]] * (REHEARSAL if arguments.device == 'cpu' else 1)
    faulthandler.dump_traceback_later(limit + GRACE, exit=True)
    results = Results(parts[0], arguments.output, limit, device)
    PARTS[parts[0]](results, arguments.quick)
    return results.status()


if __name__ == '__main__':
    sys.exit(main())
