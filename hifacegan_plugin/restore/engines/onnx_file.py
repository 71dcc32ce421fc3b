"""Networks as ONNX files, and ONNX Runtime, which runs them."""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hifacegan_plugin.restore.engines.devices import CPU, EngineError, kind_of
from hifacegan_plugin.restore.engines.inference import Engine, network_for, noise
from hifacegan_plugin.weights import Network

# The execution providers of ONNX Runtime besides the CPU's, in the order in which `auto` looks for one, by device:
# NVIDIA's, Apple's, any card under Windows. None of them has been tried.
PROVIDERS = {'cuda': 'CUDAExecutionProvider', 'mps': 'CoreMLExecutionProvider', 'dml': 'DmlExecutionProvider'}

ONNX_OPSET = 18


def write_onnx(generator: Network, path: Path, dtype: str = 'float32') -> None:
    """Write the network as ONNX, opset 18, with dynamic batch, height and width.

    It computes in ``dtype``; images in and out are float32.
    """
    dynamic = {name: {0: 'batch', 2: 'height', 3: 'width'} for name in ('input', 'output')}
    with warnings.catch_warnings(), _addcmul_in_its_dtype():
        # The exporter is called deprecated; its successor writes the same graph, forty times slower.
        warnings.simplefilter('ignore')
        torch.onnx.export(
            network_for(generator, dtype),
            (noise(generator),),
            path,
            input_names=['input'],
            output_names=['output'],
            opset_version=ONNX_OPSET,
            dynamic_axes=dynamic,
            dynamo=False,
        )


@contextlib.contextmanager
def _addcmul_in_its_dtype() -> Iterator[None]:
    """Have torch write ``x + a * b`` for ``addcmul``.

    Its own translation multiplies by a constant of float32, which turns float16 and all that follows into float32.
    """
    name = 'aten::addcmul'
    torch.onnx.register_custom_op_symbolic(  # type: ignore[attr-defined]
        name, lambda graph, x, one, other, value: graph.op('Add', x, graph.op('Mul', one, other)), ONNX_OPSET
    )
    try:
        yield
    finally:
        torch.onnx.unregister_custom_op_symbolic(name, ONNX_OPSET)  # type: ignore[attr-defined]


def choose_onnx_device(name: str) -> str:
    """Return the device that ONNX Runtime is to work on; ``auto``: the first that it has a provider for, else the CPU.

    Raises:
        EngineError: if the installed ONNX Runtime has no provider for it.
    """
    import onnxruntime

    there = [kind for kind, provider in PROVIDERS.items() if provider in onnxruntime.get_available_providers()]
    if name == 'auto':
        return there[0] if there else CPU
    if kind_of(name) not in (CPU, *there):
        wanted = PROVIDERS.get(kind_of(name), 'a provider for it')
        raise EngineError(
            f'engine onnx: the ONNX Runtime that is installed works on {", ".join((CPU, *there))}, not on {name}. '
            f'Install one with {wanted} (onnxruntime-gpu, onnxruntime-directml), or take the engine torch.'
        )
    return name


def load_onnx(path: Path, dtype: str, device: str = CPU) -> Engine:
    """Run a written network with ONNX Runtime.

    Raises:
        EngineError: if the provider of the device cannot be started.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    providers: list[Any] = ['CPUExecutionProvider']  # also for what the other one cannot do
    kind, _, index = device.partition(':')
    if kind in PROVIDERS:
        providers.insert(0, (PROVIDERS[kind], {'device_id': index} if index else {}))
    one_at_a_time: contextlib.AbstractContextManager[Any] = contextlib.nullcontext()
    if kind == 'dml':  # as its documentation asks
        options.enable_mem_pattern = False
        one_at_a_time = threading.Lock()
    try:
        session = onnxruntime.InferenceSession(path, options, providers)
    except Exception as error:  # of kinds of its own
        raise EngineError(f'engine onnx: does not start on {device} ({error}). Take --device cpu.') from error
    if kind in PROVIDERS and PROVIDERS[kind] not in session.get_providers():
        raise EngineError(f'engine onnx: {PROVIDERS[kind]} does not start, as it says above. Take --device cpu.')

    def restore(images: np.ndarray) -> np.ndarray:
        with one_at_a_time:
            return session.run(None, {'input': images})[0]

    return restore
