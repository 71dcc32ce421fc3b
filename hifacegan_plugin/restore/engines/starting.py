"""Choose and open the engine that runs a network: torch, ONNX Runtime or OpenVINO, on a device."""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
import torch

from hifacegan_plugin.archs.csr.paper import PaperCSR
from hifacegan_plugin.archs.folded.strips import Walk
from hifacegan_plugin.restore.engines.devices import CPU, EngineError, choose_device, kind_of
from hifacegan_plugin.restore.engines.exported import EXPORTED, check_installed, open_exported
from hifacegan_plugin.restore.engines.inference import (
    DTYPES,
    TRACING,
    Engine,
    differences_from_torch,
    network_for,
    noise,
)
from hifacegan_plugin.restore.engines.onnx_file import choose_onnx_device
from hifacegan_plugin.system.memory import keep_freed_memory
from hifacegan_plugin.weights import Network, RecognisedNetwork

logger = logging.getLogger('basicsr.hifacegan_plugin')

ENGINES = ('torch', 'compiled', *EXPORTED)
STRIP_ELEMENTS = 1 << 22  # 16 MiB of float32: about the size of a cache, and few rows are computed twice
# Tolerated mean difference from the CPU on a noise image, for devices that are untested.
TOLERANCE_OF_DEVICES = {'float32': 2e-3, 'float16': 5e-3, 'bfloat16': 2e-2}


def start_engine(name: str, generator: Network, dtype: str, device: str = 'auto') -> tuple[str, str, Engine]:
    """Choose and open an engine; with ``auto``, fall back to the CPU if the device does not work.

    Returns:
        The names of the engine and of the device, and the engine.

    Raises:
        EngineError: as :func:`choose_engine` and :func:`open_engine`.
    """
    if isinstance(generator, RecognisedNetwork):
        name = _engine_of_recognised(name, dtype, generator)
    chosen, there = choose_engine(name, dtype, device)
    try:
        return chosen, there, open_engine(chosen, generator, dtype, there)
    except EngineError as error:
        if device != 'auto' or there == CPU:
            raise
        logger.warning(f'{error} Restoring on the CPU.')
    return start_engine(name, generator, dtype, CPU)


def _engine_of_recognised(name: str, dtype: str, network: RecognisedNetwork) -> str:
    """Resolve ``auto`` for a third-party network, and check that the engine and dtype support it."""
    if name in EXPORTED:
        raise EngineError(f'engine {name}: runs HiFaceGAN only, and this is {network.architecture}. Use torch.')
    if DTYPES.get(dtype, torch.float32) not in network.dtypes:
        supported = [each for each, computed in DTYPES.items() if computed in network.dtypes]
        raise EngineError(f'dtype {dtype}: {network.architecture} computes in {" or ".join(supported)}.')
    return 'torch' if name == 'auto' else name


def choose_engine(name: str, dtype: str, device: str = 'auto') -> tuple[str, str]:
    """Resolve ``auto`` and check that the engine supports the dtype and the device.

    Args:
        name: ``torch``, ``compiled``, ``onnx``, ``openvino`` or ``auto``.
        dtype: ``float32``, ``bfloat16`` or (not on a CPU) ``float16``.
        device: as for :func:`~hifacegan_plugin.restore.engines.devices.choose_device`.

    Returns:
        The names of the engine and of the device.

    Raises:
        EngineError: if engine, dtype or device is unknown, the engine is not installed, or it cannot compute in
            ``dtype`` or on ``device``.
    """
    if name not in ('auto', *ENGINES):
        raise EngineError(f'engine {name!r}: choose one of auto, {", ".join(ENGINES)}.')
    if dtype not in DTYPES:
        raise EngineError(f'dtype {dtype!r}: choose one of {", ".join(DTYPES)}.')
    if name in EXPORTED:
        check_installed(name)
    device = _choose_device_of(name, device)
    if name == 'auto':
        # In float32, torch is about as fast as the others, starts at once and needs the least memory. OpenVINO is the
        # fastest with a processor's bfloat16 units.
        name = 'openvino' if dtype == 'bfloat16' and device == CPU and find_spec('openvino') else 'torch'
    if dtype == 'float16' and device == CPU:
        raise EngineError(f'engine {name}: CPUs do not support float16, and no other device was found. Use float32.')
    if dtype == 'bfloat16' and name == 'onnx':
        raise EngineError('engine onnx: has no bfloat16 convolutions. Use openvino or torch, or float32.')
    return name, device


def _choose_device_of(engine: str, device: str) -> str:
    if engine == 'onnx':
        return choose_onnx_device(device)
    if engine == 'openvino':
        if device not in ('auto', CPU):
            raise EngineError(f'engine openvino: runs on the CPU only. Use --engine torch for {device}.')
        return CPU
    return choose_device(device)


def open_engine(name: str, generator: Network, dtype: str, device: str = CPU) -> Engine:
    """Open the engine and device that :func:`choose_engine` returned.

    CPUs, and torch on CUDA, are known to work. Any other combination is first compared with the network on the CPU.

    Raises:
        EngineError: if the disk has no room for the engine's temporary file, or its output differs from the CPU's.
    """
    if name == 'torch':
        engine: Engine = open_torch(generator, dtype, device)
    elif name == 'compiled':
        engine = open_compiled(generator, dtype, device)
    else:
        engine = open_exported(name, generator, dtype, device)
    if device != CPU and (name in EXPORTED or kind_of(device) != 'cuda'):
        check_against_cpu(engine, generator, dtype, f'engine {name} on {device}')
    return engine


def check_against_cpu(engine: Engine, generator: Network, dtype: str, called: str) -> None:
    """Compare an engine with the network on the CPU, on a noise image.

    Raises:
        EngineError: if the engine fails, or differs by more than rounding explains.
    """
    try:
        difference = differences_from_torch(engine, generator, noise(generator)).mean()
    except Exception as error:  # each backend raises its own classes, such as for an operation that it lacks
        raise EngineError(f'{called}: does not work here ({error}). Use --device cpu.') from error
    if not difference <= TOLERANCE_OF_DEVICES[dtype]:
        raise EngineError(f'{called}: differs from the CPU by {difference:.2g} on average. Use --device cpu.')


def open_torch(generator: Network, dtype: str, device: str = CPU) -> Callable[..., np.ndarray]:
    """Run with torch.

    Returns:
        An engine with an additional argument ``frugal``: if true, it takes a third of the memory and about 1.5 times
        the work; it has no effect on the fast network.
    """
    network = network_for(generator, dtype).to(prepared(device, generator))

    def restore(images: np.ndarray, frugal: bool = False) -> np.ndarray:
        walk = Walk(STRIP_ELEMENTS, frugal) if frugal or device == CPU else Walk()
        with torch.inference_mode():
            return network(torch.from_numpy(images).to(device), walk).float().cpu().numpy()

    return restore


def open_compiled(generator: Network, dtype: str, device: str = CPU) -> Engine:
    """Run with torch, compiled by a C++ compiler or (CUDA) Triton; each new image size takes minutes to compile."""
    network = torch.compile(network_for(generator, dtype).to(prepared(device, generator)), dynamic=False)

    def restore(images: np.ndarray) -> np.ndarray:
        with TRACING, torch.inference_mode():
            return network(torch.from_numpy(images).to(device)).float().cpu().numpy()

    return restore


def prepared(device: str, generator: Network) -> torch.device:
    """Return a torch device; on a CPU, make the process keep the memory of freed feature maps."""
    if device == CPU:
        # Besides strips, the paper's network holds a few whole feature maps. Keeping these would fragment the memory.
        keep_freed_memory(2**26 if isinstance(generator, PaperCSR) else 2**30)
    return torch.device(device)
