"""Measure inference: milliseconds per image of the paper's network and the packaged networks."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterable
from copy import deepcopy
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gpu_parts.results import Results
from gpu_parts.timing import STRICT, batch_of, float32_as, timed

# Forms of a network and number formats, most important first.
OF_PACKAGED = ('compiled fp16', 'unfolded TF32', 'unfolded fp32', 'folded fp16', 'graph fp16')
OF_PAPER = (*OF_PACKAGED[:4], 'folded bf16', 'graph fp16', 'host TF32', 'folded TF32')
OF_LARGE = ('folded fp16', 'compiled fp16', 'unfolded TF32')
PROVIDERS = {'cuda': ('CUDAExecutionProvider', 'TensorrtExecutionProvider'), 'cpu': ('CPUExecutionProvider',)}
DTYPES_OF_ONNX = {'cuda': ('float16', 'float32'), 'cpu': ('float32',)}
RARE = ('compiled graph fp16', 'benchmark fp16', 'folded fp32')


def measure_inference(results: Results, quick: bool) -> None:
    """Measure milliseconds per image of the paper's network and the packaged networks at several sizes."""
    from inference import make_generator

    from hifacegan_plugin.weights import PACKAGED, load_generator

    device = results.device
    networks = {
        'CSR': make_generator(4 if quick else 64, 'paper'),
        **{n: load_generator(f) for n, f in PACKAGED.items()},
    }
    networks = {name: network.to(device) for name, network in networks.items()}
    small, large = (64, 128) if quick else (512, 2048)

    def measure(contestants: tuple[str, ...], *shapes: tuple[int, int], names: Iterable[str] = networks) -> None:
        for name in names:
            for count, size in shapes:
                measure_networks(results, name, networks[name], count, size, contestants)

    measure(OF_PAPER, (1, small), names=['CSR'])
    measure(OF_PACKAGED, (1, small), names=PACKAGED)
    for name, network in networks.items():
        for dtype in ('float16', 'float32') if device.type == 'cuda' else ('float32',):
            what = f'{name}, {small}x{small}, {dtype}'
            work = partial(restored, network, dtype, small, device)
            results.measure('Restorer, from bytes to bytes', what, work)
    measure(OF_LARGE, (1, large), (16, small))
    measure(('folded fp16',), (16, large))
    for count in (1, 16):
        measure_onnx(results, networks, count, small)
    measure(RARE, (1, small), names=['CSR'])
    measure(('unfolded fp32',), (16, small), (1, large))


def contestant(name: str, generator: nn.Module, x: Tensor) -> tuple[Callable[[Tensor], Tensor], bool, bool]:
    """Return the form ``name`` of a generator, whether it uses TF32, and whether it uses cuDNN's benchmark mode."""
    from hifacegan_plugin.restore.engines.inference import network_for

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
    """Measure contestants on one batch, and compare their images with those of the unfolded network in float32."""
    device = results.device
    group = f'Inference, {name} width {generator.num_feat}: {count} x {size}x{size}'
    x = batch_of(count, size, device)['lq']
    is_small = size <= 512
    expected = []

    def run(one: str) -> dict[str, Any]:
        if is_small and not expected:  # for large images, plain float32 would take most of the time limit
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


def measure_onnx(results: Results, networks: dict[str, nn.Module], count: int, size: int) -> None:
    """Measure ONNX Runtime on images in the device's memory, with each available execution provider."""
    import onnxruntime

    providers = onnxruntime.get_available_providers()
    chosen = [provider for provider in PROVIDERS[results.device.type] if provider in providers]
    if not chosen:
        results.add(group='ONNX Runtime', name='not measured', version=onnxruntime.__version__, has=' '.join(providers))
    for name, generator in networks.items():
        x = batch_of(count, size, results.device)['lq']
        for provider, dtype in product(chosen, DTYPES_OF_ONNX[results.device.type]):
            label = f'{name}, {count} x {size}x{size}, {dtype}, {provider}'
            results.measure('ONNX Runtime', label, partial(by_onnx, generator, x, provider, dtype))


def by_onnx(generator: nn.Module, x: Tensor, provider: str, dtype: str) -> dict[str, Any]:
    """Measure an exported network, and compare its images with those of the original network.

    Raises:
        RuntimeError: ONNX Runtime cannot use the provider and has chosen another one.
    """
    import onnxruntime

    from hifacegan_plugin.restore.engines.onnx_file import write_onnx

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, 'network.onnx')
        write_onnx(deepcopy(generator).cpu(), path, dtype)
        session = onnxruntime.InferenceSession(path, providers=[provider])
    if session.get_providers()[0] != provider:
        raise RuntimeError(f'{provider} cannot be set up: {session.get_providers()}')
    binding, out = session.io_binding(), torch.empty_like(x)
    for bind, name, tensor in ((binding.bind_input, 'input', x), (binding.bind_output, 'output', out)):
        bind(name, x.device.type, 0, np.float32, tuple(tensor.shape), tensor.data_ptr())
    with float32_as(STRICT), torch.inference_mode():
        figures = timed(lambda: session.run_with_iobinding(binding), x.device, 0.4)
        error = (out[:1] - generator.eval()(x[:1])).abs()
    per_image = {'ms/image': figures['ms'] / len(x), 'images/s': 1000 * len(x) / figures['ms']}
    return {**per_image, **figures, 'mean_error': error.mean().item(), 'largest_error': error.max().item()}


def restored(generator: nn.Module, dtype: str, size: int, device: torch.device) -> dict[str, Any]:
    """Measure the restorer of the command line: uint8 in and out, including all copies."""
    from hifacegan_plugin.restore.restorer import Restorer

    restore = Restorer(generator, 'torch', dtype)
    image = (batch_of(1, size, torch.device('cpu'))['lq'][0].permute(1, 2, 0).numpy() * 255).astype(np.uint8)
    figures = timed(lambda: restore(image), device, 0.4)
    return {'images/s': 1000 / figures['ms'], **figures}


def replayed(network: Callable[[Tensor], Tensor], x: Tensor) -> Callable[[Tensor], Tensor]:
    """Capture a network on images of one size as a CUDA graph; return a function that replays it."""
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
