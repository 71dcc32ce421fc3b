"""Networks as files for other engines: ONNX Runtime and OpenVINO."""

from __future__ import annotations

import contextlib
import functools
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from copy import deepcopy
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import torch

from hifacegan_plugin.restore.devices import CPU, kind_of
from hifacegan_plugin.restore.engine_error import EngineError
from hifacegan_plugin.restore.inference import INFERENCE, TRACING, Engine, network_for, noise
from hifacegan_plugin.weights import Network

# The execution providers of ONNX Runtime besides the CPU's, in the order in which `auto` looks for one, by device:
# NVIDIA's, Apple's, any card under Windows. None of them has been tried.
PROVIDERS = {'cuda': 'CUDAExecutionProvider', 'mps': 'CoreMLExecutionProvider', 'dml': 'DmlExecutionProvider'}

# What a written network may differ from torch by on noise: at most in float32, on average in float16.
TOLERANCE: dict[str, tuple[Callable[[np.ndarray], Any], float]] = {
    'float32': (np.max, 1e-3),
    'float16': (np.mean, 5e-3),
}
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


def write_openvino(generator: Network, path: Path, dtype: str = 'float32') -> None:
    """Write the network for OpenVINO (``.xml``, ``.bin`` beside it), with dynamic batch, height and width.

    Always in float32: OpenVINO converts it to ``dtype`` when it loads it.
    """
    import openvino

    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # sizes become constants of the trace where they make no difference
        network = openvino.convert_model(network_for(generator), example_input=(noise(generator),))
    network.reshape([-1, generator.num_in_ch, -1, -1])
    openvino.save_model(network, path, compress_to_fp16=False)
    if INFERENCE[type(generator)].start_in_float32:
        keep_start_in_float32(path)


def keep_start_in_float32(path: Path) -> None:
    """Have OpenVINO compute what comes before the first ReLU in float32, whatever it computes the rest in.

    That is the first convolution and its normalisation, for the reason that :meth:`FoldedCSR.compute_in` gives. The
    attribute cannot be set from Python. OpenVINO before 2026 does not know it and passes over it.
    """
    network = ElementTree.parse(path)
    for layer in network.iterfind('layers/layer'):  # each after those that it reads
        if layer.get('type') == 'ReLU':
            break
        attributes = {'name': 'DisablePrecisionConversion', 'version': '0', 'value': 'dynamic:bf16,f16'}
        ElementTree.SubElement(ElementTree.SubElement(layer, 'rt_info'), 'attribute', attributes)
    network.write(path)


def load_openvino(path: Path, dtype: str, device: str = CPU) -> Engine:
    """Run a written network with OpenVINO on the CPU, in bfloat16 if asked."""
    settings = {
        'INFERENCE_NUM_THREADS': torch.get_num_threads(),
        'INFERENCE_PRECISION_HINT': {'float32': 'f32', 'bfloat16': 'bf16'}[dtype],
        'PERFORMANCE_HINT': 'LATENCY',
    }
    network = openvino_core().compile_model(path, 'CPU', settings)
    # Called itself, the network would use one request for all: what one thread asks would get another one's answer.
    return lambda images: network.create_infer_request().infer(images, share_inputs=True)[0]


@functools.cache
def openvino_core() -> Any:
    """Return the one core of this process, which all engines share.

    A core gives the thread a stack for signals, and at its end the one that was there before. Of two that end in the
    order in which they began, the second brings back the first one's, which is gone: the next signal that Python
    handles, such as Ctrl-C, would end the process with a segmentation fault.
    """
    import openvino

    return openvino.Core()


# By engine: suffix of its files, how to write one, how to load it.
EXPORTED = {'onnx': ('.onnx', write_onnx, load_onnx), 'openvino': ('.xml', write_openvino, load_openvino)}


def open_exported(name: str, generator: Network, dtype: str, device: str) -> Engine:
    """Write the network to a temporary file, and load it.

    Raises:
        EngineError: if there is no room for that file, or the engine cannot be started on the device.
    """
    suffix, write, load = EXPORTED[name]
    try:
        with TRACING, tempfile.TemporaryDirectory() as folder:
            path = Path(folder, f'network{suffix}')
            write(generator, path, dtype)
            return load(path, dtype, device)
    except (OSError, RuntimeError) as error:  # the exporters tell of a full disk in a RuntimeError
        raise EngineError(
            f'engine {name}: cannot be set up by way of a temporary file ({error}). Make room in the folder for '
            'temporary files, name another one in TMPDIR, or take the engine torch.'
        ) from error


def export(generator: Network, to: str, path: Path, dtype: str = 'float32') -> float:
    """Write the network for another engine, once what was written agrees with torch.

    Args:
        generator: the network.
        to: ``onnx`` or ``openvino``.
        path: the file, ``.onnx`` or ``.xml`` (with a ``.bin`` beside it).
        dtype: ``float32``; for ``onnx``, too, ``float16``, with float32 in and out.

    Returns:
        The largest difference to torch, on images of noise of another size than the network was traced with.

    Raises:
        EngineError: if the engine is not installed, the suffix or dtype is wrong, or the result differs by more than
            1e-3 (float16: 5e-3 on average).
        OSError: if the file cannot be written.
    """
    check_installed(to)
    suffix, write, load = EXPORTED[to]
    if path.suffix != suffix:
        raise EngineError(f'{path}: the file for {to} must end in {suffix}.')
    if dtype not in TOLERANCE or (dtype != 'float32' and to != 'onnx'):
        raise EngineError(f'{path}: {to} is not written in {dtype}. Leave dtype out: OpenVINO converts what it loads.')
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        with TRACING:
            write(generator, Path(folder, path.name), dtype)
        images = noise(generator, 2, 35, 69)
        with torch.inference_mode():
            expected = deepcopy(generator).eval()(images).numpy()  # as what was written is
        differences = np.abs(load(Path(folder, path.name), 'float32', CPU)(images.numpy()) - expected)
        measure, tolerance = TOLERANCE[dtype]
        if not measure(differences) <= tolerance:
            raise EngineError(f'{path}: not written, because {to} differs from torch by {measure(differences):.2g}.')
        for written in sorted(Path(folder).iterdir()):
            written.replace(path.parent / written.name)
    return float(differences.max())


def check_installed(name: str) -> None:
    """Check that the package of an engine is there.

    Raises:
        EngineError: if it is not.
    """
    module = {'onnx': 'onnxruntime'}.get(name, name)
    if find_spec(module) is None:
        raise EngineError(f'engine {name}: {module} is not installed. Run: pip install "hifacegan-plugin[{name}]"')
