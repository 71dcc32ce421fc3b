"""Write networks as ONNX files, and run them with ONNX Runtime."""

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

# ONNX Runtime's execution providers besides the CPU's, by device, in the order in which `auto` tries them: NVIDIA,
# Apple, any GPU under Windows. All of them are untested.
PROVIDERS = {'cuda': 'CUDAExecutionProvider', 'mps': 'CoreMLExecutionProvider', 'dml': 'DmlExecutionProvider'}

ONNX_OPSET = 18


def write_onnx(generator: Network, path: Path, dtype: str = 'float32') -> None:
    """Write the network as ONNX, opset 18, with dynamic batch, height and width.

    It computes in ``dtype``; images in and out are float32.
    """
    dynamic = {name: {0: 'batch', 2: 'height', 3: 'width'} for name in ('input', 'output')}
    with warnings.catch_warnings(), _addcmul_in_its_dtype():
        # This exporter is deprecated, but its successor writes the same graph forty times slower.
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
    """Make torch export ``addcmul`` as ``x + a * b``.

    Its own export multiplies by a float32 constant, which promotes float16 and everything after it to float32.
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
    """Return the device for ONNX Runtime; ``auto``: the first that it has a provider for, else the CPU.

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
            f'engine onnx: the installed ONNX Runtime supports {", ".join((CPU, *there))}, not {name}. '
            f'Install one with {wanted} (onnxruntime-gpu, onnxruntime-directml), or use --engine torch.'
        )
    return name


def load_onnx(path: Path, dtype: str, device: str = CPU) -> Engine:
    """Open an exported network with ONNX Runtime.

    Raises:
        EngineError: if the provider of the device cannot be started.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    providers: list[Any] = ['CPUExecutionProvider']  # the fallback for operations that the other one lacks
    kind, _, index = device.partition(':')
    if kind in PROVIDERS:
        providers.insert(0, (PROVIDERS[kind], {'device_id': index} if index else {}))
    one_at_a_time: contextlib.AbstractContextManager[Any] = contextlib.nullcontext()
    if kind == 'dml':  # required by its documentation
        options.enable_mem_pattern = False
        one_at_a_time = threading.Lock()
    try:
        session = onnxruntime.InferenceSession(path, options, providers)
    except Exception as error:  # ONNX Runtime raises its own classes
        raise EngineError(f'engine onnx: does not start on {device} ({error}). Use --device cpu.') from error
    if kind in PROVIDERS and PROVIDERS[kind] not in session.get_providers():
        raise EngineError(f'engine onnx: {PROVIDERS[kind]} does not start; see its message above. Use --device cpu.')

    def restore(images: np.ndarray) -> np.ndarray:
        with one_at_a_time:
            return session.run(None, {'input': images})[0]

    return restore
