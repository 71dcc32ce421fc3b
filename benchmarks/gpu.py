"""Check the plugin on an NVIDIA card and measure it there, in under eight minutes.

    make gpu                                       # all three parts
    python benchmarks/gpu.py --check               # tests marked cuda; meanwhile compiles what the other parts time
    python benchmarks/gpu.py --train               # images a second, beside the host's model and the plain update
    python benchmarks/gpu.py --infer               # milliseconds an image, beside the host's network
    python benchmarks/gpu.py --pretrain FOLDER     # trains the packaged networks
    python benchmarks/gpu.py --quick --device cpu  # rehearsal: every line of it, at tiny sizes

Each part has a time limit and writes ``gpu-PART.json`` and ``gpu-PART.md`` anew after every measurement, so that a run
that is cut off keeps what it has. A measurement that fails is recorded with its traceback, and the next one begins.

Weights are random and there is no perceptual loss, on any side: VGG19's weights are no part of the repository. Batches
lie on the card already. Times are medians of wall-clock time between two synchronisations, after a warm-up. What
matters most comes first in each part; plain float32, for which cuDNN searches long, last.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import gc
import json
import logging
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / 'benchmarks')]

LIMITS = {'check': 160, 'train': 170, 'infer': 130}  # seconds
REHEARSAL = 10  # times as long on a CPU, which compiles slowly
GRACE = 20  # seconds that a measurement in progress may take beyond its limit before the process ends
PEAK_SHAPES = ((128, 128, 512), (512, 512, 128), (1024, 1024, 32))  # channels in, out, side
TF32, STRICT = True, False  # whether float32 convolutions may round their operands to 10 bits, as torch does by default
WARMED = ('train paper', 'infer paper', 'train fast', 'infer packaged')  # what --check compiles in the background


class Results:
    """What a part has measured; on the disk after every measurement."""

    def __init__(self, part: str, folder: Path, limit: float, device: torch.device) -> None:
        self.part, self.folder = part, folder
        self.deadline = time.monotonic() + limit
        self.device = device
        self.rows: list[dict[str, Any]] = []
        self.environment = describe(device)
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, **row: Any) -> dict[str, Any]:
        """Take a row and write the files."""
        self.rows.append(row)
        write(
            self.folder / f'gpu-{self.part}.json',
            json.dumps({'part': self.part, 'environment': self.environment, 'rows': self.rows}, indent=1, default=str),
        )
        write(self.folder / f'gpu-{self.part}.md', self.as_markdown())
        told = {key: value for key, value in row.items() if key not in ('group', 'traceback', 'kernels')}
        print(f'[{row["group"]}]', ', '.join(f'{key} {shown(value)}' for key, value in told.items()), flush=True)
        return row

    def measure(self, group: str, name: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Take a measurement, or what kept it from being taken; the memory of the device is empty afterwards."""
        if time.monotonic() > self.deadline:
            return self.add(group=group, name=name, error='not measured: no time left')
        start = time.monotonic()
        try:
            figures = work()
        except Exception as error:  # whatever it is, it belongs to this measurement alone
            figures = {
                'error': f'{type(error).__name__}: {error}'.partition('\n')[0][:200],
                'traceback': traceback.format_exc(),
            }
        gc.collect()
        torch._dynamo.reset()
        if self.device.type == 'cuda':
            torch.cuda.empty_cache()
        return self.add(group=group, name=name, **figures, took=time.monotonic() - start)

    def as_markdown(self) -> str:
        """Give a table of each group; its columns are the figures of its rows."""
        lines = [
            f'# {self.part}: {self.environment["device"]}',
            '',
            ', '.join(f'{key} {value}' for key, value in self.environment.items()),
        ]
        for group in dict.fromkeys(row['group'] for row in self.rows):
            rows = [row for row in self.rows if row['group'] == group]
            hidden = ('group', 'traceback', 'kernels')
            columns = list(dict.fromkeys(key for row in rows for key in row if key not in hidden))
            lines += ['', f'## {group}', '', f'| {" | ".join(columns)} |', f'|{"---|" * len(columns)}']
            lines += [f'| {" | ".join(shown(row.get(column, "")) for column in columns)} |' for row in rows]
        return '\n'.join(lines) + '\n'


def shown(value: Any) -> str:
    """Write a figure with four digits, and anything else on one line that no table takes for its own."""
    return f'{value:.4g}' if isinstance(value, float) else str(value).replace('\n', ' ').replace('|', '/')


def write(path: Path, text: str) -> None:
    """Write a file as a whole or not at all."""
    draft = path.with_suffix('.part')
    draft.write_text(text, encoding='utf-8')
    draft.replace(path)


def describe(device: torch.device) -> dict[str, Any]:
    """Tell what the figures were measured on."""
    about = {
        'device': platform.processor() or platform.machine(),
        'torch': torch.__version__,
        'python': platform.python_version(),
        'cores': os.cpu_count(),
        'date': time.strftime('%Y-%m-%d'),
    }
    if device.type == 'cuda':
        properties = torch.cuda.get_device_properties(device)
        about |= {
            'device': properties.name,
            'GiB': round(properties.total_memory / 2**30, 1),
            'CUDA': torch.version.cuda,
            'cuDNN': torch.backends.cudnn.version(),
        }
    return about


# --------------------------------------------------------------------------------------------------------- measuring


def synchronize(device: torch.device) -> None:
    """Wait for the device."""
    if device.type == 'cuda':
        torch.cuda.synchronize(device)


def timed(call: Callable[[], Any], device: torch.device, seconds: float = 0.6, rounds: int = 3) -> dict[str, float]:
    """Give the median time of a call: of rounds of as many calls as fill ``seconds`` together, and of the first one."""

    def run(calls: int) -> float:
        synchronize(device)
        start = time.perf_counter()
        for _ in range(calls):
            call()
        synchronize(device)
        return (time.perf_counter() - start) / calls

    first = run(1)
    if device.type == 'cuda':
        torch.cuda.reset_peak_memory_stats()  # cuDNN's search for algorithms is over, which takes what there is
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
    """Let convolutions and matrix products in float32 use TF32 or not; let cuDNN try its algorithms or not."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, matmul.allow_tf32, cudnn.benchmark
    cudnn.allow_tf32 = matmul.allow_tf32 = tf32
    cudnn.benchmark = benchmark
    try:
        yield
    finally:
        cudnn.allow_tf32, matmul.allow_tf32, cudnn.benchmark = before


def convolution_peak(device: torch.device, dtype: torch.dtype, tf32: bool, quick: bool) -> dict[str, float]:
    """Give the rate of the best convolution of the network's kind in TFLOP/s."""
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
    """Give the rate of a copy on the device in GB/s, bytes read and written together."""
    source = torch.empty((1 << (20 if quick else 30)), dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return {'GB/s': 2 * source.nbytes / timed(lambda: target.copy_(source), device, 0.1)['ms'] / 1e6}


def measure_ceiling(results: Results, kind: str, quick: bool) -> float:
    """Measure what the device can do at best in numbers of a kind, in TFLOP/s."""
    dtype = {'bf16': torch.bfloat16, 'fp16': torch.float16}.get(kind, torch.float32)
    row = results.measure(
        'Ceilings', f'convolution, {kind}', lambda: convolution_peak(results.device, dtype, kind != 'fp32', quick)
    )
    return row.get('TFLOP/s', float('nan'))


# --------------------------------------------------------------------------------------------------------- training


def batch_of(count: int, size: int, device: torch.device) -> dict[str, Tensor]:
    """Make a batch of smooth images and noisy ones, float32 in [0, 1]."""
    generator = torch.Generator(device).manual_seed(0)
    coarse = torch.rand(count, 3, size // 8, size // 8, generator=generator, device=device)
    truth = nn.functional.interpolate(coarse, scale_factor=8, mode='bilinear')
    noise = torch.randn(truth.shape, generator=generator, device=device)
    return {'lq': (truth + 0.1 * noise).clamp(0, 1), 'gt': truth}


def paper_networks(kind: str, quick: bool, size: int) -> dict[str, Any]:
    """Give the sections of the networks of the paper's setting, ours or the host's."""
    width = 4 if quick else 64
    if kind == 'host':
        return {
            'network_g': {
                'type': 'HiFaceGAN',
                'num_feat': width,
                'norm_g': 'spectralspadebatch3x3',
                'is_train': False,
                'crop_size': size,
            },
            'network_d': {'type': 'HiFaceGANDiscriminator', 'num_feat': width},
        }
    return {
        'network_g': {'type': 'CSRGenerator', 'num_feat': width},
        'network_d': {'type': 'MultiscalePatchDiscriminator', 'num_feat': width},
    }


def fast_networks(quick: bool) -> dict[str, Any]:
    """Give the section of the network for small budgets, which learns by a pixel loss alone."""
    return {'network_g': {'type': 'CSRGenerator', 'preset': 'fast', 'num_feat': 4 if quick else 16}}


PIXEL_ALONE = {'gan_opt': None, 'feature_matching_opt': None}


def built(kind: str, networks: dict[str, Any], device: torch.device, **train: Any) -> Any:
    """Build a model of the host's registry on the device, where drawing the weights takes no time."""
    from training import model

    with torch.device(device), contextlib.redirect_stdout(None):
        return model(kind, networks, num_gpu=int(device.type == 'cuda'), **train)


def stepper(trained: Any, batch: dict[str, Tensor]) -> Callable[[], None]:
    """Give an iteration as the host's loop makes it between two lines of the log."""

    def step() -> None:
        trained.feed_data(dict(batch))
        trained.optimize_parameters(1)

    return step


def plain_fast_step(network: nn.Module, batch: dict[str, Tensor]) -> Callable[[], float]:
    """Give the update of a network by a pixel loss, written plainly."""
    from training import ADAM

    optimizer = torch.optim.Adam(network.parameters(), lr=ADAM['lr'], betas=ADAM['betas'])

    def step() -> float:
        optimizer.zero_grad()
        loss = 10 * nn.functional.l1_loss(network(batch['lq']), batch['gt'])
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def graphed(trained: Any, batch: dict[str, Tensor]) -> Any:
    """Replace the generator's passes by replays of CUDA graphs, captured in the type that it trains in."""
    lq = batch['lq'].to(memory_format=torch.channels_last)
    with torch.autocast('cuda', trained.amp_dtype, cache_enabled=False, enabled=trained.amp_dtype is not None):
        trained.net_g = torch.cuda.make_graphed_callables(trained.net_g, (lq,))
    return trained


class FlopCounter(TorchDispatchMode):
    """Counts floating-point operations by torch's own formulas; torch's counter fails on parts of a backward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        """Run an operation and count it."""
        out = function(*args, **(kwargs or {}))
        formula = flop_registry.get(function._overloadpacket)
        if formula:
            self.total += formula(*args, **(kwargs or {}), out_val=out)
        return out


def flops_of(step: Callable[[], Any]) -> int:
    """Count the floating-point operations of an iteration, forward and backward."""
    with FlopCounter() as counter:
        step()
    return counter.total


def synchronisations(step: Callable[[], Any]) -> int:
    """Count the places of an iteration at which the processor waits for the card."""
    import warnings

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        torch.cuda.set_sync_debug_mode('warn')
        try:
            step()
        finally:
            torch.cuda.set_sync_debug_mode('default')
    return sum('called a synchronizing CUDA operation' in str(warning.message) for warning in caught)


def kernels_of(step: Callable[[], Any], device: torch.device) -> dict[str, Any]:
    """Tell which kernels an iteration spends its time in, and how long the card is busy."""
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


def measure_training(results: Results, quick: bool) -> None:
    """Measure images a second in training: the form for small budgets, the paper's setting, the data."""
    on_card = results.device.type == 'cuda'
    peaks = {kind: measure_ceiling(results, kind, quick) for kind in ('bf16', 'TF32')}
    measure_fast_training(results, quick, peaks)
    measure_paper_training(results, quick, peaks)
    measure_data(results, quick)
    measure_large_batch(results, quick)
    measure_kernels(results, quick)
    results.measure('Ceilings', 'copy', lambda: copy_bandwidth(results.device, quick))
    if on_card:  # on a CPU, float16 is emulated, and TF32 is float32
        peaks |= {kind: measure_ceiling(results, kind, quick) for kind in ('fp16', 'fp32')}
    measure_paper_training(results, quick, peaks, slow=True)


def measure_paper_training(results: Results, quick: bool, peaks: dict[str, float], slow: bool = False) -> None:
    """Time the paper's setting: CSR of width 64, batch 2, 512x512; or the ways that cuDNN searches long for."""
    from training import reference_step

    device = results.device
    count, size = (2, 64) if quick else (2, 512)
    batch = batch_of(count, size, device)
    group = f'Training, paper: width {4 if quick else 64}, {count} x {size}x{size}'
    ours = paper_networks('ours', quick, size)
    flops = {}

    def plain(tf32: bool) -> dict[str, Any]:
        trained = built('HiFaceGANCSRModel', ours, device)
        step = reference_step(trained.net_g, trained.net_d)
        with float32_as(tf32):
            return rates(timed(lambda: step(batch), device), count)

    def host() -> dict[str, Any]:
        trained = built('HiFaceGANModel', paper_networks('host', quick, size), device)
        with float32_as(TF32):
            return rates(timed(stepper(trained, batch), device), count)

    def own(kind: str, with_graph: bool = False, **train: Any) -> dict[str, Any]:
        trained = built('HiFaceGANCSRModel', ours, device, **train)
        with float32_as(kind != 'fp32'):
            if with_graph:
                trained = graphed(trained, batch)
            step = stepper(trained, batch)
            figures = rates(timed(step, device), count)
            if not (flops or with_graph or train.get('compile')):
                flops['iteration'] = flops_of(step)
            if device.type == 'cuda':
                figures['waits'] = synchronisations(step)
        if flops:
            figures['of_peak'] = flops['iteration'] / figures['ms'] / 1e9 / peaks[kind]
        return figures

    if slow:
        results.measure(group, 'ours, bf16', lambda: own('bf16', amp='bf16'))
        if device.type == 'cuda':
            results.measure(group, 'plain update, fp32', lambda: plain(STRICT))
            results.measure(group, 'ours, fp32', lambda: own('fp32'))
        return
    bf16 = {'amp': 'bf16', 'channels_last': True}
    results.measure(group, 'ours, bf16, channels last', lambda: own('bf16', **bf16))
    results.measure(group, 'ours, bf16, channels last, compiled', lambda: own('bf16', **bf16, compile=True))
    if device.type == 'cuda':
        results.measure(group, 'ours, bf16, channels last, CUDA graph', lambda: own('bf16', True, **bf16))
    results.measure(group, 'plain update, TF32', lambda: plain(TF32))
    results.measure(group, 'ours, TF32', lambda: own('TF32'))
    results.measure(group, "host's HiFaceGANModel on its own networks, TF32", host)
    results.add(group=group, name='work of an iteration of ours', TFLOP=flops.get('iteration', float('nan')) / 1e12)


def rates(figures: dict[str, float], count: int) -> dict[str, float]:
    """Add images a second to the time of a batch."""
    return {'images/s': 1000 * count / figures['ms'], **figures}


def measure_fast_training(results: Results, quick: bool, peaks: dict[str, float]) -> None:
    """Time the form for small budgets: batch 64, 128x128."""
    device = results.device
    count, size = (2, 64) if quick else (64, 128)
    batch = batch_of(count, size, device)
    group = f'Training, preset fast: width {4 if quick else 16}, {count} x {size}x{size}'
    networks = fast_networks(quick)
    flops = {}

    def plain() -> dict[str, Any]:
        network = built('HiFaceGANCSRModel', networks, device, **PIXEL_ALONE).net_g
        with float32_as(TF32):
            return rates(timed(plain_fast_step(network, batch), device), count)

    def own(kind: str, with_graph: bool = False, **train: Any) -> dict[str, Any]:
        trained = built('HiFaceGANCSRModel', networks, device, **PIXEL_ALONE, **train)
        with float32_as(TF32):
            if with_graph:
                trained = graphed(trained, batch)
            step = stepper(trained, batch)
            figures = rates(timed(step, device), count)
            if not (flops or with_graph or train.get('compile')):
                flops['iteration'] = flops_of(step)
        if flops:
            figures['of_peak'] = flops['iteration'] / figures['ms'] / 1e9 / peaks[kind]
        return figures

    bf16 = {'amp': 'bf16', 'channels_last': True}
    results.measure(group, 'ours, bf16, channels last', lambda: own('bf16', **bf16))
    results.measure(group, 'ours, bf16, channels last, compiled', lambda: own('bf16', **bf16, compile=True))
    results.measure(group, 'plain update, TF32', plain)
    if device.type == 'cuda':
        results.measure(group, 'ours, bf16, channels last, CUDA graph', lambda: own('bf16', True, **bf16))
    results.measure(group, 'ours, TF32', lambda: own('TF32'))


def measure_data(results: Results, quick: bool) -> None:
    """Time the data set alone: read, degrade, collate, with a worker for every core up to 16."""
    import cv2
    from basicsr.utils.options import yaml_load
    from torch.utils.data import DataLoader

    from hifacegan_plugin.data.degradation_dataset import DegradationDataset

    workers = min(16, os.cpu_count() or 1)
    mild = yaml_load(str(REPOSITORY / 'options/hifacegan_mild.yml'))['datasets']['train']['degradation']

    def loaded(folder: Path, recipe: Any, crop: int, count: int) -> dict[str, Any]:
        dataset = DegradationDataset(
            {
                'phase': 'train',
                'name': 'images',
                'dataroot_gt': str(folder),
                'gt_size': crop,
                'degradation': recipe,
                'io_backend': {'type': 'disk'},
                'deliver': 'uint8',
            }
        )
        indices = range(count * (4 if quick else 2000))
        loader = DataLoader(dataset, count, sampler=indices, num_workers=workers, prefetch_factor=4)
        batches = iter(loader)
        for _ in range(2 if quick else 4 * workers if count < 8 else workers):  # start the workers, fill their queues
            next(batches)
        start, images = time.perf_counter(), 0
        for batch in batches:
            images += len(batch['lq'])
            if time.perf_counter() - start > (1 if quick else 5):
                break
        seconds = time.perf_counter() - start
        del batches
        return {'images/s': images / seconds, 'workers': workers}

    with tempfile.TemporaryDirectory() as name:
        rng = np.random.default_rng(0)
        for index in range(8 if quick else 64):
            coarse = rng.integers(0, 256, (64, 64, 3), np.uint8)
            cv2.imwrite(f'{name}/{index}.png', cv2.resize(coarse, (512, 512), interpolation=cv2.INTER_CUBIC))
        results.measure('Data alone', 'full, crops of 512, batch 2', lambda: loaded(Path(name), 'full', 512, 2))
        results.measure('Data alone', 'mild, crops of 128, batch 64', lambda: loaded(Path(name), mild, 128, 64))


def measure_large_batch(results: Results, quick: bool) -> None:
    """Train on as large a batch as the device holds."""
    device = results.device
    size = 64 if quick else 512
    networks = paper_networks('ours', quick, size)

    def own() -> dict[str, Any]:
        trained = built('HiFaceGANCSRModel', networks, device, amp='bf16', channels_last=True)
        with float32_as(TF32):
            count = 2
            if device.type == 'cuda':
                used = []
                for few in (1, 2):
                    torch.cuda.reset_peak_memory_stats()
                    stepper(trained, batch_of(few, size, device))()
                    used.append(torch.cuda.max_memory_allocated())
                per_image = used[1] - used[0]
                count = int((0.85 * torch.cuda.get_device_properties(device).total_memory - used[0]) / per_image) + 1
                torch.cuda.empty_cache()
            count = min(count, 32)
            return {'batch': count, **rates(timed(stepper(trained, batch_of(count, size, device)), device), count)}

    results.measure('Training, paper, largest batch', 'ours, bf16, channels last', own)


def measure_kernels(results: Results, quick: bool) -> None:
    """Profile an iteration of both forms."""
    device = results.device
    forms = {
        'paper': (paper_networks('ours', quick, 0), {}, (2, 64) if quick else (2, 512)),
        'fast': (fast_networks(quick), PIXEL_ALONE, (2, 64) if quick else (64, 128)),
    }
    for form, (networks, train, shape) in forms.items():

        def profiled(networks: Any = networks, train: Any = train, shape: Any = shape) -> dict[str, Any]:
            trained = built('HiFaceGANCSRModel', networks, device, **train, amp='bf16', channels_last=True)
            step = stepper(trained, batch_of(*shape, device))
            with float32_as(TF32):
                step()
                return kernels_of(step, device)

        results.measure('Kernels of an iteration, bf16, channels last', form, profiled)


# --------------------------------------------------------------------------------------------------------- inference


def replayed(network: Callable[[Tensor], Tensor], x: Tensor) -> Callable[[Tensor], Tensor]:
    """Capture a network's work on pictures of one size as a CUDA graph; give what replays it."""
    static = x.clone()
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream), torch.inference_mode():
        for _ in range(2):
            network(static)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.inference_mode(), torch.cuda.graph(graph):
        out = network(static)

    def run(x: Tensor) -> Tensor:
        static.copy_(x)
        graph.replay()
        return out

    return run


def measure_inference(results: Results, quick: bool) -> None:
    """Measure milliseconds an image: the paper's form at several sizes, then the networks that come with the plugin."""
    from inference import make_generator

    from hifacegan_plugin.weights import load_generator

    device = results.device
    paper = make_generator(4 if quick else 64, 'paper').to(device)
    packaged = {
        path.stem: load_generator(path).to(device)
        for path in sorted((REPOSITORY / 'hifacegan_plugin/pretrained').glob('*.safetensors'))
    }
    small, large = (64, 128) if quick else (512, 2048)
    measure_networks(
        results,
        'CSR',
        paper,
        1,
        small,
        (
            'compiled fp16',
            'unfolded TF32',
            'unfolded fp32',
            'folded fp16',
            'folded bf16',
            'graph fp16',
            'host TF32',
            'folded TF32',
        ),
    )
    for name, generator in packaged.items():
        measure_networks(
            results,
            name,
            generator,
            1,
            small,
            ('compiled fp16', 'unfolded TF32', 'unfolded fp32', 'folded fp16', 'graph fp16'),
        )
    for name, generator in {'CSR': paper, **packaged}.items():
        for dtype in ('float16', 'float32') if device.type == 'cuda' else ('float32',):
            results.measure(
                'Restorer, from bytes to bytes',
                f'{name}, {small}x{small}, {dtype}',
                lambda g=generator, d=dtype: restored(g, d, small, device),
            )
    for name, generator in {'CSR': paper, **packaged}.items():
        for count, size in ((1, large), (16, small)):
            measure_networks(results, name, generator, count, size, ('folded fp16', 'compiled fp16', 'unfolded TF32'))
    for name, generator in {'CSR': paper, **packaged}.items():
        measure_networks(results, name, generator, 16, large, ('folded fp16',))
    results.measure('Engines', 'ONNX Runtime on the card', onnx_on_the_card)
    measure_networks(results, 'CSR', paper, 1, small, ('compiled graph fp16', 'benchmark fp16', 'folded fp32'))
    for name, generator in {'CSR': paper, **packaged}.items():
        for count, size in ((16, small), (1, large)):
            measure_networks(results, name, generator, count, size, ('unfolded fp32',))


def contestant(name: str, generator: nn.Module, x: Tensor) -> tuple[Callable[[Tensor], Tensor], bool, bool]:
    """Make what ``name`` says of a generator; also tell whether it uses TF32 and cuDNN's benchmark."""
    from hifacegan_plugin.restore.inference import network_for

    form, _, kind = name.rpartition(' ')
    if form == 'host':
        from basicsr.archs.hifacegan_arch import HiFaceGAN

        with torch.device(x.device), contextlib.redirect_stdout(None):
            network = HiFaceGAN(num_feat=generator.num_feat, crop_size=x.shape[-1], is_train=False)
        return network.eval(), kind == 'TF32', False
    if form == 'unfolded':
        return generator.eval(), kind == 'TF32', False
    dtype = {'fp16': 'float16', 'bf16': 'bfloat16'}.get(kind, 'float32')
    network = network_for(generator, dtype)
    if 'compiled' in form:
        network = torch.compile(network, dynamic=False)
    if 'graph' in form:
        network = replayed(network, x)
    return network, kind != 'fp32', form == 'benchmark'


def measure_networks(
    results: Results, name: str, generator: nn.Module, count: int, size: int, contestants: tuple[str, ...]
) -> None:
    """Time contestants on one batch, and compare their pictures with those of our unfolded network in float32."""
    device = results.device
    group = f'Inference, {name} width {generator.num_feat}: {count} x {size}x{size}'
    x = batch_of(count, size, device)['lq']
    is_small = size <= 512
    expected = []

    def run(one: str) -> dict[str, Any]:
        if is_small and not expected:  # of large pictures, plain float32 takes most of the time that there is
            with float32_as(STRICT), torch.inference_mode():
                expected.append(generator.eval()(x[:1]).cpu())
        network, tf32, benchmark = contestant(one, generator, x)
        before = torch.cuda.memory_allocated() if device.type == 'cuda' else 0
        with float32_as(tf32, benchmark), torch.inference_mode():
            figures = timed(lambda: network(x), device, 0.4)
            figures = {'ms/image': figures['ms'] / count, 'images/s': 1000 * count / figures['ms'], **figures}
            if expected and not one.startswith('host'):
                error = network(x)[:1].float().cpu() - expected[0]
                figures |= {'mean_error': error.abs().mean().item(), 'largest_error': error.abs().max().item()}
        if device.type == 'cuda':
            figures['bytes/pixel'] = (figures['peak_GiB'] * 2**30 - before) / (count * size**2)
        return figures

    for one in contestants:
        if device.type == 'cuda' or not ('graph' in one or 'fp16' in one):
            results.measure(group, one, lambda one=one: run(one))


def onnx_on_the_card() -> dict[str, Any]:
    """Tell which execution providers ONNX Runtime has here; the CPU's is timed by inference.py."""
    import onnxruntime

    return {'onnxruntime': onnxruntime.__version__, 'providers': ' '.join(onnxruntime.get_available_providers())}


def restored(generator: nn.Module, dtype: str, size: int, device: torch.device) -> dict[str, Any]:
    """Time the restorer of the command line: uint8 in and out, with all copies."""
    from hifacegan_plugin.restore.restorer import Restorer

    restore = Restorer(generator, 'torch', dtype)
    image = (batch_of(1, size, torch.device('cpu'))['lq'][0].permute(1, 2, 0).numpy() * 255).astype(np.uint8)
    figures = timed(lambda: restore(image), device, 0.4)
    return {'images/s': 1000 / figures['ms'], **figures}


# ------------------------------------------------------------------------------------------------------------- check


def check(results: Results, quick: bool) -> None:
    """Run the tests marked cuda, several at a time; meanwhile compile what the other parts will time."""
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder, 'rows')
        rows.touch()
        command = [sys.executable, __file__, '--compile', str(rows), '--device', results.device.type]
        environment = {'TORCHINDUCTOR_COMPILE_THREADS': '4', **os.environ}
        start = time.monotonic()
        process = subprocess.Popen(
            command + ['--quick'] * quick,
            cwd=REPOSITORY,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            run_tests(results)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.1, results.deadline - time.monotonic()))
        finally:
            process.kill()
        done = [json.loads(line) for line in rows.read_text().splitlines()]
    for row in done:
        results.add(group='Compiled beforehand', **row)
    if len(done) < len(WARMED):
        results.add(
            group='Compiled beforehand',
            name=WARMED[len(done)],
            outcome='cut off',
            took=time.monotonic() - start - sum(row['took'] for row in done),
        )


def run_tests(results: Results) -> None:
    """Run pytest in a process of its own; a row for each test as it ends."""
    workers = min(8, (os.cpu_count() or 2) // 2)
    files = sorted((REPOSITORY / 'tests').rglob('test_cuda_*.py'))  # others import what may not be there
    command = [
        sys.executable,
        '-m',
        'pytest',
        '-m',
        'cuda',
        '-p',
        'gpu_rows',
        '-n',
        str(workers),
        '-q',
        '-o',
        'addopts=',
        '--device',
        results.device.type,
        *map(str, files),
    ]
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder, 'rows')
        rows.touch()
        plugin = Path(folder, 'gpu_rows.py')
        plugin.write_text(PYTEST_PLUGIN)
        path = os.pathsep.join([folder, str(REPOSITORY), os.environ.get('PYTHONPATH', '')])
        environment = {
            'OMP_NUM_THREADS': '2',
            'TORCHINDUCTOR_COMPILE_THREADS': '4',
            **os.environ,
            'PYTHONPATH': path,
            'GPU_ROWS': str(rows),
        }
        log = Path(folder, 'log')
        with log.open('w') as output:
            process = subprocess.Popen(
                command,
                cwd=REPOSITORY,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        told = 0
        try:
            while True:
                ended = process.poll() is not None
                lines = rows.read_text().splitlines()
                for line in lines[told:]:
                    results.add(group='Tests', **json.loads(line))
                told = len(lines)
                if ended or time.monotonic() > results.deadline:
                    break
                time.sleep(0.2)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, 9)
        summary = log.read_text().strip().splitlines()
        results.add(
            group='Tests',
            name='pytest',
            outcome=summary[-1] if summary else 'nothing printed',
            status='cut off' if process.poll() is None or process.returncode == -9 else process.returncode,
            traceback='' if told else '\n'.join(summary[-60:]),
        )


PYTEST_PLUGIN = """
import json, os

def pytest_runtest_logreport(report):
    if "PYTEST_XDIST_WORKER" in os.environ or (report.when != "call" and report.outcome == "passed"):
        return
    row = {"name": report.nodeid.replace("tests/", ""), "outcome": report.outcome, "took": report.duration,
           **dict(report.user_properties)}
    if report.outcome == "failed":
        row["traceback"] = report.longreprtext[-6000:]
    if report.outcome == "skipped":
        row["reason"] = str(report.longrepr[-1] if isinstance(report.longrepr, tuple) else report.longrepr)
    with open(os.environ["GPU_ROWS"], "a") as file:
        file.write(json.dumps(row) + "\\n")
"""


def compile_beforehand(rows: Path, quick: bool, device: torch.device) -> None:
    """Compile what the other parts time, so that they find it in torch's cache; add a row to a file for each."""
    os.nice(10)  # the tests go first
    for name in WARMED:
        start = time.monotonic()
        row = {'name': name, 'outcome': 'compiled'}
        try:
            if name.startswith('train'):
                compile_training(name, quick, device)
            else:
                compile_inference(name, quick, device)
        except Exception:  # whatever it is, the next one may be compiled
            row |= {'outcome': 'failed', 'traceback': traceback.format_exc()[-6000:]}
        gc.collect()
        torch._dynamo.reset()
        with rows.open('a') as file:
            file.write(json.dumps({**row, 'took': time.monotonic() - start}) + '\n')


def compile_training(name: str, quick: bool, device: torch.device) -> None:
    """Compile what the part --train times, of the paper's form or of that for small budgets."""
    bf16 = {'amp': 'bf16', 'channels_last': True, 'compile': True}
    if name == 'train paper':
        networks, losses, shape = paper_networks('ours', quick, 0), {}, (2, 64) if quick else (2, 512)
    else:
        networks, losses, shape = fast_networks(quick), PIXEL_ALONE, (2, 64) if quick else (64, 128)
    with float32_as(TF32, benchmark=False):
        stepper(built('HiFaceGANCSRModel', networks, device, **losses, **bf16), batch_of(*shape, device))()


def compile_inference(name: str, quick: bool, device: torch.device) -> None:
    """Compile what the part --infer times, of the paper's form or of the network that comes with the plugin."""
    from inference import make_generator

    from hifacegan_plugin.weights import PACKAGED, load_generator

    paper = name == 'infer paper'
    generator = make_generator(4 if quick else 64, 'paper') if paper else load_generator(PACKAGED['general'])
    generator = generator.to(device)
    small, large = (64, 128) if quick else (512, 2048)
    form = 'compiled fp16' if device.type == 'cuda' else 'compiled fp32'
    for count, size in ((1, small), (16, small), (1, large)):
        x = batch_of(count, size, device)['lq']
        with torch.inference_mode():
            contestant(form, generator, x)[0](x)
        torch._dynamo.reset()


def pretrain(results: Results, images: Path, minutes: float) -> None:
    """Train both packaged networks at the same time, because each leaves the card idle while it prepares a batch."""
    started = {}
    for task in ('general', 'faces'):
        command = [
            sys.executable,
            str(REPOSITORY / 'benchmarks/train_pretrained.py'),
            task,
            '--images',
            str(images / task),
            '--minutes',
            str(minutes),
            '--device',
            results.device.type,
            '-o',
            str(results.folder / task),
        ]
        started[task] = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    for task, process in started.items():
        _, errors = process.communicate()
        log = results.folder / task / 'log.jsonl'
        figures = json.loads(log.read_text().splitlines()[-1]) if log.exists() else {}
        figures |= {'traceback': errors[-6000:]} if process.returncode else {}
        results.add(group='Packaged networks', name=task, status=process.returncode, **figures)


PARTS = {'check': check, 'train': measure_training, 'infer': measure_inference}


def main() -> int:
    """Run the parts that are asked for, each in a process of its own where there are several."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for part, limit in LIMITS.items():
        parser.add_argument(f'--{part}', action='store_true', help=f'this part ({limit} s at most)')
    parser.add_argument(
        '--pretrain',
        type=Path,
        metavar='FOLDER',
        help='train the packaged networks on the images in FOLDER/general and FOLDER/faces, and nothing else',
    )
    parser.add_argument('--minutes', type=float, default=7.5, help='of --pretrain (default: %(default)s)')
    parser.add_argument('--device', choices=('cuda', 'cpu'), default='cuda')
    parser.add_argument('--quick', action='store_true', help='tiny networks and images, to rehearse')
    parser.add_argument('-o', '--output', type=Path, default=Path('benchmarks/on_gpu'), help='folder of the results')
    parser.add_argument('--compile', type=Path, help=argparse.SUPPRESS)  # the file that --check reads
    arguments = parser.parse_args()
    if arguments.device == 'cuda' and not torch.cuda.is_available():
        print('gpu.py: torch sees no CUDA device. Rehearse with --device cpu --quick.', file=sys.stderr)
        return 2
    device = torch.device(arguments.device)
    logging.disable(logging.INFO)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # and so end what was started
    if arguments.compile:
        compile_beforehand(arguments.compile, arguments.quick, device)
        return 0
    if arguments.pretrain:
        pretrain(
            Results('pretrain', arguments.output, 60 * arguments.minutes, device), arguments.pretrain, arguments.minutes
        )
        return 0
    parts = [part for part in PARTS if getattr(arguments, part)] or list(PARTS)
    if len(parts) > 1:
        words = ['--device', arguments.device, '-o', str(arguments.output), *['--quick'] * arguments.quick]
        return max([subprocess.run([sys.executable, __file__, f'--{part}', *words]).returncode for part in parts])
    limit = LIMITS[parts[0]] * (REHEARSAL if arguments.device == 'cpu' else 1)
    faulthandler.dump_traceback_later(limit + GRACE, exit=True)
    results = Results(parts[0], arguments.output, limit, device)
    PARTS[parts[0]](results, arguments.quick)
    return 0


if __name__ == '__main__':
    sys.exit(main())
