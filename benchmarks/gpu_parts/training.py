"""Measure training: images per second with the paper's network and the fast network."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

import hifacegan_plugin
from gpu_parts.data import measure_data, measure_degradations
from gpu_parts.results import Results
from gpu_parts.timing import (
    STRICT,
    TF32,
    batch_of,
    copy_bandwidth,
    float32_as,
    flops_of,
    kernels_of,
    measure_ceiling,
    rates,
    synchronisations,
    timed,
)

PIXEL_ALONE = {'gan_opt': None, 'feature_matching_opt': None}
BF16 = {'amp': 'bf16', 'channels_last': True}


class Setting:
    """The networks, losses and batch of a training, and the number of operations of an iteration."""

    def __init__(self, form: str, quick: bool, device: torch.device) -> None:
        self.count, self.size = (2, 64) if quick else {'paper': (2, 512), 'fast': (64, 128)}[form]
        self.networks = paper_networks('ours', quick, self.size) if form == 'paper' else fast_networks(quick)
        self.losses = {} if form == 'paper' else PIXEL_ALONE
        self.device = device
        self.batch = batch_of(self.count, self.size, device)
        self.flops: int | None = None
        width = self.networks['network_g']['num_feat']
        self.title = f'Training, {form}: width {width}, {self.count} x {self.size}x{self.size}'

    def build(self, **train: Any) -> Any:
        """Build our model, with additional options under ``train``."""
        return built('HiFaceGANCSRModel', self.networks, self.device, **self.losses, **train)

    def time(self, step: Callable[[], Any], tf32: bool) -> dict[str, Any]:
        """Measure an iteration."""
        with float32_as(tf32):
            return rates(timed(step, self.device), self.count)

    def time_ours(self, peak: float, tf32: bool = TF32, with_graph: bool = False, **train: Any) -> dict[str, Any]:
        """Measure our model: its time, share of the peak performance (TFLOP/s) and number of synchronizations."""
        trained = self.build(**train)
        with float32_as(tf32):
            step = stepper(graphed(trained, self.batch) if with_graph else trained, self.batch)
            figures = self.time(step, tf32)
            if self.flops is None and not (with_graph or train.get('compile')):
                self.flops = flops_of(step)
            if self.device.type == 'cuda':
                figures['waits'] = synchronisations(step)
        if self.flops is not None:
            figures['of_peak'] = self.flops / figures['ms'] / 1e9 / peak
        return figures


def measure_training(results: Results, quick: bool) -> None:
    """Measure the fast network, the paper's network and the data set."""
    device = results.device
    paper, fast = (Setting(form, quick, device) for form in ('paper', 'fast'))
    peaks = {kind: measure_ceiling(results, kind, quick) for kind in ('bf16', 'TF32')}
    measure_common(results, fast, peaks, lambda: plain_fast_step(fast.build().net_g, fast.batch))
    measure_common(results, paper, peaks, lambda: plain_paper_step(paper))
    results.measure(paper.title, "host's HiFaceGANModel on its own networks, TF32", lambda: time_host(paper, quick))
    measure_data(results, quick)
    measure_degradations(results, quick)
    measure_large_batch(results, paper)
    for setting in (paper, fast):
        results.measure('Kernels of an iteration, bf16, channels last', setting.title, lambda s=setting: profiled(s))
    results.measure('Ceilings', 'copy', lambda: copy_bandwidth(device, quick))
    results.measure(paper.title, 'ours, bf16', lambda: paper.time_ours(peaks['bf16'], amp='bf16'))
    if device.type == 'cuda':  # on a CPU, float16 is emulated, and TF32 is float32
        peaks |= {kind: measure_ceiling(results, kind, quick) for kind in ('fp16', 'fp32')}
        results.measure(paper.title, 'ours, fp16', lambda: paper.time_ours(peaks['fp16'], amp='fp16'))
        results.measure(paper.title, 'plain update, fp32', lambda: paper.time(plain_paper_step(paper), STRICT))
        results.measure(paper.title, 'ours, fp32', lambda: paper.time_ours(peaks['fp32'], STRICT))


def measure_common(
    results: Results, setting: Setting, peaks: dict[str, float], plain: Callable[[], Callable[[], Any]]
) -> None:
    """Measure our model with several options, and the plain update."""
    bf16, tf32 = peaks['bf16'], peaks['TF32']
    variants = {
        'ours, bf16, channels last': lambda: setting.time_ours(bf16, **BF16),
        'ours, bf16, channels last, compiled': lambda: setting.time_ours(bf16, **BF16, compile=True),
        'plain update, TF32': lambda: setting.time(plain(), TF32),
        'ours, bf16, channels last, CUDA graph': lambda: setting.time_ours(bf16, with_graph=True, **BF16),
        'ours, TF32': lambda: setting.time_ours(tf32),
    }
    for name, work in variants.items():
        if results.device.type == 'cuda' or 'graph' not in name:
            results.measure(setting.title, name, work)
    if setting.flops is not None:
        results.add(group=setting.title, name='work of an iteration of ours', TFLOP=setting.flops / 1e12)


def time_host(setting: Setting, quick: bool) -> dict[str, Any]:
    """Measure BasicSR's model with its own networks."""
    trained = built('HiFaceGANModel', paper_networks('host', quick, setting.size), setting.device)
    return setting.time(stepper(trained, setting.batch), TF32)


def measure_large_batch(results: Results, setting: Setting) -> None:
    """Measure training with the largest batch that fits the device."""
    device, size = setting.device, setting.size

    def own() -> dict[str, Any]:
        trained = setting.build(**BF16)
        with float32_as(TF32):
            count = largest_batch(trained, size) if device.type == 'cuda' else setting.count
            step = stepper(trained, batch_of(count, size, device))
            return {'batch': count, **rates(timed(step, device), count)}

    results.measure('Training, paper, largest batch', 'ours, bf16, channels last', own)


def largest_batch(trained: Any, size: int) -> int:
    """Return how many images fit the GPU, extrapolated from one and two images; 15 % of the memory stays free."""
    used = []
    for few in (1, 2):
        torch.cuda.reset_peak_memory_stats()
        stepper(trained, batch_of(few, size, trained.device))()
        used.append(torch.cuda.max_memory_allocated())
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(trained.device).total_memory
    return int((0.85 * total - used[0]) / (used[1] - used[0])) + 1


def profiled(setting: Setting) -> dict[str, Any]:
    """Profile an iteration."""
    with float32_as(TF32):
        return kernels_of(stepper(setting.build(**BF16), setting.batch), setting.device)


def paper_networks(kind: str, quick: bool, size: int) -> dict[str, Any]:
    """Return the options of the paper's networks, ours or BasicSR's."""
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
    """Return the options of the fast network, which is trained with only a pixel loss."""
    return {'network_g': {'type': 'CSRGenerator', 'preset': 'fast', 'num_feat': 4 if quick else 16}}


def built(kind: str, networks: dict[str, Any], device: torch.device, **train: Any) -> Any:
    """Build a model of BasicSR's registry directly on the device, where initialization is fast."""
    from training import model

    hifacegan_plugin.register()
    with torch.device(device), contextlib.redirect_stdout(None):
        return model(kind, networks, num_gpu=int(device.type == 'cuda'), **train)


def stepper(trained: Any, batch: dict[str, Tensor]) -> Callable[[], None]:
    """Return a function that runs an iteration of BasicSR's loop, without logging."""

    def step() -> None:
        trained.feed_data(dict(batch))
        trained.optimize_parameters(1)

    return step


def plain_paper_step(setting: Setting) -> Callable[[], Any]:
    """Return the reference implementation's update of our networks."""
    from training import reference_step

    trained = setting.build()
    step = reference_step(trained.net_g, trained.net_d)
    return lambda: step(setting.batch)


def plain_fast_step(network: nn.Module, batch: dict[str, Tensor]) -> Callable[[], float]:
    """Return a plain update of a network with a pixel loss."""
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
    """Replace the generator's passes by CUDA graphs, captured in the number format of the training."""
    lq = batch['lq'].to(memory_format=torch.channels_last)
    with torch.autocast('cuda', trained.amp_dtype, cache_enabled=False, enabled=trained.amp_dtype is not None):
        trained.net_g = torch.cuda.make_graphed_callables(trained.net_g, (lq,))
    return trained
