"""What runs the network, folded where there is anything to fold: torch, ONNX Runtime or OpenVINO.

An engine is a function from images ``(N, C, H, W)``, float32 in [0, 1], H and W from the smallest side of the network
up, to images of the same shape. Any number of threads may call it at the same time.
"""

from __future__ import annotations

import functools
import tempfile
import threading
import warnings
from collections.abc import Callable
from copy import deepcopy
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import numpy as np
import torch
from torch import Tensor, nn

from hifacegan_plugin.archs.csr_network import CSRNetwork
from hifacegan_plugin.archs.fast_csr import FastCSR
from hifacegan_plugin.archs.folded_csr import FoldedCSR, Walk, pad
from hifacegan_plugin.archs.paper_csr import PaperCSR
from hifacegan_plugin.system.memory import keep_freed_memory

Engine = Callable[[np.ndarray], np.ndarray]

DTYPES = {'float32': torch.float32, 'bfloat16': torch.bfloat16, 'float16': torch.float16}
STRIP_ELEMENTS = 1 << 22  # 16 MiB of float32: near what a cache holds, and few rows are computed twice
TRACING = threading.RLock()  # held while torch traces a network for an exporter or a compiler: both keep global state
TOLERANCE = 1e-3  # of an exported network: the largest difference to torch on an image of noise


class DynamicCSR(nn.Module):
    """Return the images that a :class:`FastCSR` returns, of sizes that the exporters of graphs see as dynamic.

    There is nothing to fold in it.

    Args:
        generator: its weights are copied.
    """

    def __init__(self, generator: FastCSR) -> None:
        super().__init__()
        self.generator = deepcopy(generator).eval().to(memory_format=torch.channels_last)
        self.dtype = torch.float32

    def compute_in(self, dtype: torch.dtype) -> DynamicCSR:
        """Compute in ``dtype`` from now on."""
        self.dtype = dtype
        return self.to(dtype)

    def forward(self, x: Tensor, walk: Walk | None = None) -> Tensor:
        """Restore ``x (N, num_in_ch, H, W)``, float32 RGB in [0, 1], in one go."""
        height, width = x.shape[-2:]
        x = pad(pad(x, 2, self.generator.multiple), 3, self.generator.multiple)
        out = x + self.generator.replenish(*self.generator.suppress(x.to(self.dtype)))
        return out[..., :height, :width]


class Inference(NamedTuple):
    """How a network is run for inference."""

    rewrite: Callable[[Any], FoldedCSR | DynamicCSR]
    largest_kept: int  # bytes of freed memory that the process keeps on a CPU
    start_in_float32: bool  # what comes before the first ReLU; see FoldedCSR.compute_in


INFERENCE = {
    # Beside strips it holds few maps, but whole ones: kept, they would leave holes in the memory.
    PaperCSR: Inference(FoldedCSR, largest_kept=2**26, start_in_float32=True),
    FastCSR: Inference(DynamicCSR, largest_kept=2**30, start_in_float32=False),
}


def network_for(generator: CSRNetwork, dtype: str = 'float32') -> FoldedCSR | DynamicCSR:
    """Return what an engine runs: a copy of the network, rewritten for inference."""
    return INFERENCE[type(generator)].rewrite(generator).compute_in(DTYPES[dtype])


class EngineError(ValueError):
    """An engine that is not installed or cannot do what it is asked to; the message names the fix."""


def choose_engine(name: str, dtype: str) -> str:
    """Resolve ``auto`` and check that the engine can do what is asked.

    Raises:
        EngineError: if the engine or dtype is unknown, the engine is not installed or cannot compute in ``dtype``.
    """
    cuda = torch.cuda.is_available()
    if name == 'auto':
        # In float32 torch is about as fast as the others, starts at once and needs the least memory. OpenVINO gains
        # most from the bfloat16 units of a processor.
        name = 'openvino' if dtype == 'bfloat16' and not cuda and find_spec('openvino') else 'torch'
    if name not in ENGINES:
        raise EngineError(f'engine {name!r}: take one of auto, {", ".join(ENGINES)}.')
    if dtype not in DTYPES:
        raise EngineError(f'dtype {dtype!r}: take one of {", ".join(DTYPES)}.')
    module = {'onnx': 'onnxruntime'}.get(name, name)
    if name in EXPORTED and find_spec(module) is None:
        raise EngineError(f'engine {name}: {module} is not installed. Run: pip install "hifacegan-plugin[{name}]"')
    if dtype == 'float16' and (name in EXPORTED or not cuda):
        raise EngineError(f'engine {name}: float16 needs torch and a CUDA device. Take bfloat16 or float32.')
    if dtype == 'bfloat16' and name == 'onnx':
        raise EngineError('engine onnx: has no bfloat16 convolutions. Take openvino or torch, or float32.')
    return name


def prepare_device(generator: CSRNetwork) -> torch.device:
    """Choose the current CUDA device, or else the CPU, told to keep the memory of feature maps."""
    if torch.cuda.is_available():
        return torch.device('cuda', torch.cuda.current_device())  # which other threads need not have chosen
    keep_freed_memory(INFERENCE[type(generator)].largest_kept)
    return torch.device('cpu')


def open_torch(generator: CSRNetwork, dtype: str) -> Callable[..., np.ndarray]:
    """Run with torch, on the current CUDA device if there is one.

    Returns:
        An engine that takes ``frugal=True`` beside the images: a third of the memory for about half more work; of no
        effect on the fast network.
    """
    device = prepare_device(generator)
    network = network_for(generator, dtype).to(device)

    def restore(images: np.ndarray, frugal: bool = False) -> np.ndarray:
        walk = Walk(STRIP_ELEMENTS, frugal) if frugal or device.type == 'cpu' else Walk()
        with torch.inference_mode():
            return network(torch.from_numpy(images).to(device), walk).float().cpu().numpy()

    return restore


def open_compiled(generator: CSRNetwork, dtype: str) -> Engine:
    """Run with torch, compiled anew for every size, which takes minutes, by a C++ compiler or (CUDA) Triton."""
    device = prepare_device(generator)
    network = torch.compile(network_for(generator, dtype).to(device), dynamic=False)

    def restore(images: np.ndarray) -> np.ndarray:
        with TRACING, torch.inference_mode():
            return network(torch.from_numpy(images).to(device)).float().cpu().numpy()

    return restore


def noise(generator: CSRNetwork, count: int = 1, more_rows: int = 0, more_columns: int = 0) -> Tensor:
    """Return images of noise, of the smallest size that the network takes or larger."""
    side = generator.smallest_side
    return torch.rand(count, generator.num_in_ch, side + more_rows, side + more_columns)


def write_onnx(generator: CSRNetwork, path: Path) -> None:
    """Write the network as ONNX, opset 18, with dynamic batch, height and width."""
    dynamic = {name: {0: 'batch', 2: 'height', 3: 'width'} for name in ('input', 'output')}
    with warnings.catch_warnings():
        # The exporter is called deprecated; its successor writes the same graph, forty times slower.
        warnings.simplefilter('ignore')
        torch.onnx.export(
            network_for(generator),
            (noise(generator),),
            path,
            input_names=['input'],
            output_names=['output'],
            opset_version=18,
            dynamic_axes=dynamic,
            dynamo=False,
        )


def load_onnx(path: Path, dtype: str) -> Engine:
    """Run a written network with ONNX Runtime on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, options, ['CPUExecutionProvider'])
    return lambda images: session.run(None, {'input': images})[0]


def write_openvino(generator: CSRNetwork, path: Path) -> None:
    """Write the network for OpenVINO (``.xml``, ``.bin`` beside it), with dynamic batch, height and width."""
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


def load_openvino(path: Path, dtype: str) -> Engine:
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


# Engines that run a file: suffix, how to write it, how to load it.
EXPORTED = {'onnx': ('.onnx', write_onnx, load_onnx), 'openvino': ('.xml', write_openvino, load_openvino)}
ENGINES = ('torch', 'compiled', *EXPORTED)


def open_engine(name: str, generator: CSRNetwork, dtype: str) -> Engine:
    """Make an engine whose name and dtype :func:`choose_engine` has checked.

    Raises:
        EngineError: if there is no room for the temporary file that the engine is made from.
    """
    if name == 'torch':
        return open_torch(generator, dtype)
    if name == 'compiled':
        return open_compiled(generator, dtype)
    suffix, write, load = EXPORTED[name]
    try:
        with TRACING, tempfile.TemporaryDirectory() as folder:
            path = Path(folder, f'network{suffix}')
            write(generator, path)
            return load(path, dtype)
    except (OSError, RuntimeError) as error:  # the exporters tell of a full disk in a RuntimeError
        raise EngineError(
            f'engine {name}: cannot be set up by way of a temporary file ({error}). Make room in the folder for '
            'temporary files, name another one in TMPDIR, or take the engine torch.'
        ) from error


def export(generator: CSRNetwork, to: str, path: Path) -> float:
    """Write the network for another engine, once what was written agrees with torch.

    Args:
        generator: the network.
        to: ``onnx`` or ``openvino``.
        path: the file, ``.onnx`` or ``.xml`` (with a ``.bin`` beside it).

    Returns:
        The largest difference to torch, on images of noise of another size than the network was traced with.

    Raises:
        EngineError: if the engine is not installed, the suffix is wrong, or the result differs by more than 1e-3.
        OSError: if the file cannot be written.
    """
    choose_engine(to, 'float32')
    suffix, write, load = EXPORTED[to]
    if path.suffix != suffix:
        raise EngineError(f'{path}: the file for {to} must end in {suffix}.')
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        with TRACING:
            write(generator, Path(folder, path.name))
        images = noise(generator, 2, 35, 69)
        with torch.inference_mode():
            expected = deepcopy(generator).eval()(images).numpy()  # as what was written is
        difference = float(np.abs(load(Path(folder, path.name), 'float32')(images.numpy()) - expected).max())
        if not difference <= TOLERANCE:
            raise EngineError(f'{path}: not written, because {to} differs from torch by {difference:.2g}.')
        for written in sorted(Path(folder).iterdir()):
            written.replace(path.parent / written.name)
    return difference
