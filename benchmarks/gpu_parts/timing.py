"""Measure the time, operations and kernels of a call, and the peak performance of the device."""

from __future__ import annotations

import contextlib
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from gpu_parts.results import Results

PEAK_SHAPES = ((128, 128, 512), (512, 512, 128), (1024, 1024, 32))  # channels in, out, side
TF32, STRICT = True, False  # whether float32 convolutions may round to 10 bits of mantissa, torch's default


def synchronize(device: torch.device) -> None:
    """Wait for the device."""
    if device.type == 'cuda':
        torch.cuda.synchronize(device)


def timed(call: Callable[[], Any], device: torch.device, seconds: float = 0.6, rounds: int = 3) -> dict[str, float]:
    """Return the median time of a call over rounds that take ``seconds`` in total, and the time of the first call."""

    def run(calls: int) -> float:
        synchronize(device)
        start = time.perf_counter()
        for _ in range(calls):
            call()
        synchronize(device)
        return (time.perf_counter() - start) / calls

    first = run(1)
    if device.type == 'cuda':
        torch.cuda.reset_peak_memory_stats()  # ignore the memory of cuDNN's search for algorithms
    once = run(1)
    if once > 1:
        rounds = 1
    calls = max(1, min(200, round(seconds / rounds / once)))
    figures = {'ms': 1000 * statistics.median(run(calls) for _ in range(rounds)), 'first_s': first}
    if device.type == 'cuda':
        figures['peak_GiB'] = torch.cuda.max_memory_allocated() / 2**30
    return figures


@contextlib.contextmanager
def float32_as(tf32: bool, benchmark: bool = True) -> Iterator[None]:
    """Set whether float32 convolutions and matrix products use TF32, and whether cuDNN benchmarks its algorithms."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, matmul.allow_tf32, cudnn.benchmark
    cudnn.allow_tf32 = matmul.allow_tf32 = tf32
    cudnn.benchmark = benchmark
    try:
        yield
    finally:
        cudnn.allow_tf32, matmul.allow_tf32, cudnn.benchmark = before


def convolution_peak(device: torch.device, dtype: torch.dtype, tf32: bool, quick: bool) -> dict[str, float]:
    """Return the rate of the fastest of a few convolutions like those in the network, in TFLOP/s."""
    best = 0.0
    with float32_as(tf32), torch.inference_mode():
        for fin, fout, side in PEAK_SHAPES:
            side = side // 8 if quick else side
            x = torch.randn(8, fin, side, side, device=device, dtype=dtype).to(memory_format=torch.channels_last)
            weight = torch.randn(fout, fin, 3, 3, device=device, dtype=dtype).to(memory_format=torch.channels_last)
            seconds = timed(lambda x=x, w=weight: nn.functional.conv2d(x, w, padding=1), device, 0.1)['ms'] / 1000
            best = max(best, 18 * 8 * fin * fout * side**2 / seconds / 1e12)
    return {'TFLOP/s': best}


def copy_bandwidth(device: torch.device, quick: bool) -> dict[str, float]:
    """Return the rate of a copy on the device in GB/s, the sum of bytes read and written."""
    source = torch.empty((1 << (20 if quick else 30)), dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return {'GB/s': 2 * source.nbytes / timed(lambda: target.copy_(source), device, 0.1)['ms'] / 1e6}


def measure_ceiling(results: Results, kind: str, quick: bool) -> float:
    """Measure the peak performance of the device in a number format, in TFLOP/s."""
    dtype = {'bf16': torch.bfloat16, 'fp16': torch.float16}.get(kind, torch.float32)
    row = results.measure(
        'Ceilings', f'convolution, {kind}', lambda: convolution_peak(results.device, dtype, kind != 'fp32', quick)
    )
    return row.get('TFLOP/s', float('nan'))


class FlopCounter(TorchDispatchMode):
    """Counts floating-point operations with torch's formulas. Torch's own counter fails in some backward passes."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        """Run an operation and count its floating-point operations."""
        out = function(*args, **(kwargs or {}))
        formula = flop_registry.get(function._overloadpacket)
        if formula:
            self.total += formula(*args, **(kwargs or {}), out_val=out)
        return out


def flops_of(step: Callable[[], Any]) -> int:
    """Return the floating-point operations of an iteration, forward and backward."""
    with FlopCounter() as counter:
        step()
    return counter.total


def synchronisations(step: Callable[[], Any]) -> int:
    """Return how often the CPU waits for the GPU in an iteration."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        torch.cuda.set_sync_debug_mode('warn')
        try:
            step()
        finally:
            torch.cuda.set_sync_debug_mode('default')
    return sum('called a synchronizing CUDA operation' in str(warning.message) for warning in caught)


def kernels_of(step: Callable[[], Any], device: torch.device) -> dict[str, Any]:
    """Return the slowest kernels of an iteration, and how long the device is busy."""
    from torch.profiler import ProfilerActivity, profile

    activities = [ProfilerActivity.CUDA] if device.type == 'cuda' else [ProfilerActivity.CPU]
    step()
    synchronize(device)
    start = time.perf_counter()
    with profile(activities=activities) as recorded:
        step()
        synchronize(device)
    wall = time.perf_counter() - start
    by_time = f'self_{"device" if device.type == "cuda" else "cpu"}_time_total'
    events = sorted(recorded.key_averages(), key=lambda event: -getattr(event, by_time))
    kernels = [(round(getattr(event, by_time) / 1000, 3), event.count, event.key[:120]) for event in events[:40]]
    return {
        'busy_ms': sum(getattr(event, by_time) for event in events) / 1000,
        'profiled_ms': 1000 * wall,
        'launches': sum(event.count for event in events),
        'longest': kernels[0][2],
        'kernels': kernels,
    }


def batch_of(count: int, size: int, device: torch.device) -> dict[str, Tensor]:
    """Return a batch of smooth images and noisy versions, float32 in [0, 1]."""
    generator = torch.Generator(device).manual_seed(0)
    coarse = torch.rand(count, 3, size // 8, size // 8, generator=generator, device=device)
    truth = nn.functional.interpolate(coarse, scale_factor=8, mode='bilinear')
    noise = torch.randn(truth.shape, generator=generator, device=device)
    return {'lq': (truth + 0.1 * noise).clamp(0, 1), 'gt': truth}


def rates(figures: dict[str, float], count: int) -> dict[str, float]:
    """Add images per second to the time of a batch."""
    return {'images/s': 1000 * count / figures['ms'], **figures}
