"""Measure how fast each engine restores images on a CPU.

    python benchmarks/inference.py                     # table for 512x512, width 48, two threads
    python benchmarks/inference.py --sizes 256 512 1024 --batches 1 2 4 8 --engines torch
    python benchmarks/inference.py --preset fast --num-feat 16 --no-host
    python benchmarks/inference.py --memory 4000x3000  # peak memory of a new process

Weights are random, and scaled so that the output has the contrast of an image. The input is a resized photograph of
scikit-image; every second image of a batch is mirrored. The contestants run in separate processes and take turns;
figures are medians over all rounds. Ratios are relative to our unfolded network in torch with float32. The table also
contains BasicSR's HiFaceGAN, which needs fewer operations. The peak is the best of a few convolutions in the same run.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from hifacegan_plugin.archs.csr.network import CSRNetwork  # noqa: E402
from hifacegan_plugin.archs.csr_arch import CSRGenerator  # noqa: E402
from hifacegan_plugin.images.photograph import Photograph  # noqa: E402
from hifacegan_plugin.images.photograph_files import write_photograph  # noqa: E402
from hifacegan_plugin.restore.engines.devices import EngineError  # noqa: E402
from hifacegan_plugin.restore.engines.inference import Engine, network_for  # noqa: E402
from hifacegan_plugin.restore.engines.starting import ENGINES, choose_engine, open_engine  # noqa: E402
from hifacegan_plugin.weights import generator_options, write_weights  # noqa: E402

PEAK_SHAPES = ((96, 192, 256), (256, 256, 64), (128, 384, 128))  # fin, fout, side


def main() -> None:
    """Run the selected measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--num-feat', type=int, default=48)
    parser.add_argument(
        '--preset', choices=('paper', 'fast'), default='paper', help='preset of the network (fast: --num-feat 16)'
    )
    parser.add_argument('--sizes', type=int, nargs='+', default=[512])
    parser.add_argument('--batches', type=int, nargs='+', default=[1])
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--engines', nargs='+', default=['torch', 'onnx', 'openvino'], choices=ENGINES)
    parser.add_argument(
        '--no-bfloat16', action='store_true', help='skip bfloat16, which is slow on CPUs without support for it'
    )
    parser.add_argument('--no-host', action='store_true', help="leave out BasicSR's network")
    parser.add_argument('--memory', metavar='WIDTHxHEIGHT', help='measure the peak memory instead')
    parser.add_argument(
        '--limit', type=float, default=3, metavar='GIB', help='memory limit of the restorer, for --memory'
    )
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    generator = make_generator(arguments.num_feat, arguments.preset)
    if arguments.memory:
        measure_memory(generator, arguments)
        return
    dtypes = ['float32'] if arguments.no_bfloat16 else ['float32', 'bfloat16']
    peaks = {dtype: measure_peak(getattr(torch, dtype)) for dtype in dtypes}
    print(f'{arguments.threads} threads, torch {torch.__version__}. Peak of convolutions: ', end='')
    print(', '.join(f'{dtype} {peak / 1e9:.0f} GFLOP/s' for dtype, peak in peaks.items()))
    contestants = {name: start(opener, arguments) for name, opener in choose_contestants(arguments, dtypes).items()}
    for size in arguments.sizes:
        for batch in arguments.batches:
            report(generator, contestants, (batch, 3, size, size), arguments.rounds, peaks)


@torch.no_grad()
def make_generator(num_feat: int, preset: str) -> CSRNetwork:
    """Return a generator with random weights that give the output contrast."""
    torch.manual_seed(0)
    generator = CSRGenerator(num_feat=num_feat, preset=preset).eval()
    for parameter in generator.parameters():
        if parameter.dim() == 4:
            torch.nn.init.xavier_normal_(parameter)
    before_tanh = []
    hook = generator.to_picture.register_forward_hook(lambda module, inputs, output: before_tanh.append(output))
    generator(torch.rand(1, 3, 128, 128))
    hook.remove()
    generator.to_picture.weight.mul_(0.25 / before_tanh[0].std())
    return generator


def measure_peak(dtype: torch.dtype) -> float:
    """Return the floating-point operations per second of the best convolution."""
    best = 0.0
    for fin, fout, side in PEAK_SHAPES:
        x = torch.rand(1, fin, side, side).to(dtype, memory_format=torch.channels_last)
        weight = torch.rand(fout, fin, 3, 3).to(dtype, memory_format=torch.channels_last)
        for _ in range(8):
            start = time.perf_counter()
            F.conv2d(x, weight, padding=1)
            best = max(best, 18 * fin * fout * side**2 / (time.perf_counter() - start))
    return best


def choose_contestants(arguments: argparse.Namespace, dtypes: list[str]) -> dict[str, Callable[[CSRNetwork], Engine]]:
    """Return functions that build an engine from the generator, by the name of the contestant."""
    contestants = {'unfolded, torch float32': in_torch}
    if not arguments.no_host:
        contestants['HiFaceGAN of the host, torch float32'] = partial(open_host, size=arguments.sizes[0])
    contestants['folded in one go, torch float32'] = open_folded
    for name in arguments.engines:
        for dtype in dtypes:
            try:
                choose_engine(name, dtype, 'cpu')
            except EngineError as error:
                print(error)
                continue
            contestants[f'engine {name} {dtype}'] = partial(open_engine, name, dtype=dtype)
    return contestants


def in_torch(network: torch.nn.Module) -> Engine:
    """Wrap a network as an engine."""

    def run(images: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return network(torch.from_numpy(images)).numpy()

    return run


def open_host(generator: CSRNetwork, size: int) -> Engine:
    """Return an engine of BasicSR's network with the same width."""
    from basicsr.archs.hifacegan_arch import HiFaceGAN

    return in_torch(HiFaceGAN(num_feat=generator.num_feat, crop_size=size).eval())


def open_folded(generator: CSRNetwork) -> Engine:
    """Return an engine of the folded network without strips."""
    return in_torch(network_for(generator))


def start(opener: Callable[[CSRNetwork], Engine], arguments: argparse.Namespace) -> Connection:
    """Start a process for a contestant, so that its settings do not affect the others. It ends with this process."""
    here, there = multiprocessing.Pipe()
    context = multiprocessing.get_context('spawn')
    context.Process(target=serve, args=(there, opener, arguments), daemon=True).start()
    there.close()
    return here


def serve(requests: Connection, opener: Callable[[CSRNetwork], Engine], arguments: argparse.Namespace) -> None:
    """Receive batches of images; return the seconds and the restored images."""
    torch.set_num_threads(arguments.threads)
    run = opener(make_generator(arguments.num_feat, arguments.preset))
    with suppress(EOFError):  # until the other end is closed
        while True:
            images = requests.recv()
            before = time.perf_counter()
            restored = run(images)
            requests.send((time.perf_counter() - before, restored))


def report(
    generator: CSRNetwork,
    contestants: dict[str, Connection],
    shape: tuple[int, int, int, int],
    rounds: int,
    peaks: dict[str, float],
) -> None:
    """Measure all contestants in turn and print the table."""
    images = photographs(shape)
    flops = {'unfolded': count_flops(generator, shape), 'folded': count_flops(network_for(generator), shape)}
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    outputs = {}
    for i in range(rounds + 1):  # the first round warms up
        for name, contestant in contestants.items():
            contestant.send(images)
            elapsed, outputs[name] = contestant.recv()
            if i:
                seconds[name].append(elapsed)
    reference = outputs['unfolded, torch float32']
    base = statistics.median(seconds['unfolded, torch float32'])
    work = f'{flops["unfolded"] / 1e9:.0f} GFLOP, folded {flops["folded"] / 1e9:.0f}'
    print(f'\n{shape[0]} x {shape[3]}x{shape[2]}: {work}')
    print(f'{"":38}{"seconds":>16}{"unfolded/this":>20}{"of peak":>9}{"mean error":>12}{"largest":>10}')
    for name, times in seconds.items():
        median = statistics.median(times)
        spread = f'{median:.2f} ({min(times):.2f}-{max(times):.2f})'
        ratio = f'{base:.2f}/{median:.2f} = {base / median:.2f}'
        peak = flops['unfolded'] / median / peaks[name.split()[-1]]
        difference = np.abs(outputs[name] - reference)
        errors = f'{difference.mean():12.1e}{difference.max():10.1e}' if 'host' not in name else ''
        print(f'{name:38}{spread:>16}{ratio:>20}{peak:>9.0%}{errors}', flush=True)


def photographs(shape: tuple[int, int, int, int]) -> np.ndarray:
    """Return a batch ``(N, 3, H, W)``, float32 in [0, 1], of scikit-image's astronaut; every second one is mirrored."""
    import cv2
    from skimage import data

    batch, _, height, width = shape
    image = cv2.resize(data.astronaut(), (width, height), interpolation=cv2.INTER_AREA).transpose(2, 0, 1)
    images = np.stack([image[..., :: (-1) ** i] for i in range(batch)])
    return images.astype(np.float32) / 255


def count_flops(network: torch.nn.Module, shape: tuple[int, ...]) -> float:
    """Return the number of floating-point operations, extrapolated from a small image."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, 3, 64, 64))
    return counter.get_total_flops() / 64**2 * shape[0] * shape[2] * shape[3]


def measure_memory(generator: CSRNetwork, arguments: argparse.Namespace) -> None:
    """Restore a large image with the command and print its peak resident memory."""
    width, height = map(int, arguments.memory.split('x'))
    with tempfile.TemporaryDirectory() as folder:
        weights, image = Path(folder, 'net_g.safetensors'), Path(folder, 'large.png')
        write_weights(weights, generator.state_dict(), generator_options(generator))
        write_photograph(image, Photograph(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)))
        options = {'-i': image, '-o': Path(folder, 'out'), '-w': weights}
        options |= {'--memory': arguments.limit, '--threads': arguments.threads}
        words = [str(word) for option in options.items() for word in option]
        command = [sys.executable, '-m', 'hifacegan_plugin', 'restore', *words]
        start = time.perf_counter()
        subprocess.run(command, check=True, cwd=REPOSITORY)
        seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    print(f'{width}x{height}, limit {arguments.limit} GiB for the image: {peak:.2f} GiB in all, {seconds:.0f} s')


if __name__ == '__main__':
    main()
