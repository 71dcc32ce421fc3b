"""Export networks to files for ONNX Runtime and OpenVINO, to keep or to load at once."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from hifacegan_plugin.restore.engines.devices import CPU, EngineError
from hifacegan_plugin.restore.engines.inference import TRACING, Engine, differences_from_torch, noise
from hifacegan_plugin.restore.engines.onnx_file import load_onnx, write_onnx
from hifacegan_plugin.restore.engines.openvino_file import load_openvino, write_openvino
from hifacegan_plugin.system.files import made_folder
from hifacegan_plugin.weights import Network

# Tolerated difference from torch on noise: the maximum in float32, the average in float16.
TOLERANCE: dict[str, tuple[Callable[[np.ndarray], Any], float]] = {
    'float32': (np.max, 1e-3),
    'float16': (np.mean, 5e-3),
}
# For each engine: file suffix, function to write, function to load.
EXPORTED = {'onnx': ('.onnx', write_onnx, load_onnx), 'openvino': ('.xml', write_openvino, load_openvino)}


def open_exported(name: str, generator: Network, dtype: str, device: str) -> Engine:
    """Write the network to a temporary file, and load that file.

    Raises:
        EngineError: if the disk is full, or the engine cannot be started on the device.
    """
    suffix, write, load = EXPORTED[name]
    try:
        with TRACING, tempfile.TemporaryDirectory() as folder:
            path = Path(folder, f'network{suffix}')
            write(generator, path, dtype)
            return load(path, dtype, device)
    except (OSError, RuntimeError) as error:  # exporters report a full disk as a RuntimeError
        raise EngineError(
            f'engine {name}: cannot write its temporary file ({error}). Free space in the folder for '
            'temporary files, set TMPDIR to another folder, or use --engine torch.'
        ) from error


def export(generator: Network, to: str, path: Path, dtype: str = 'float32') -> float:
    """Write the network for another engine, if the exported network agrees with torch.

    Args:
        generator: the network.
        to: ``onnx`` or ``openvino``.
        path: the file, ``.onnx`` or ``.xml`` (with a ``.bin`` beside it).
        dtype: ``float32``, or for ``onnx`` also ``float16``, with float32 inputs and outputs.

    Returns:
        The largest difference from torch on noise images of a size other than the traced one.

    Raises:
        EngineError: if the engine is not installed, the suffix or dtype is wrong, the engine cannot write the file, or
            the result differs by more than 1e-3 (float16: 5e-3 on average).
        OSError: if the folder cannot be made.
    """
    check_installed(to)
    suffix, write, load = EXPORTED[to]
    if path.suffix != suffix:
        raise EngineError(f'{path}: the file for {to} must end in {suffix}.')
    if dtype not in TOLERANCE or (dtype != 'float32' and to != 'onnx'):
        raise EngineError(f'{path}: {to} is not written in {dtype}. Leave dtype out: OpenVINO converts what it loads.')
    with made_folder(path.parent), tempfile.TemporaryDirectory(dir=path.parent) as folder:
        try:
            with TRACING:
                write(generator, Path(folder, path.name), dtype)
        except (OSError, RuntimeError) as error:  # for example, the disk is full
            reason = getattr(error, 'strerror', None) or str(error).strip().splitlines()[0]
            raise EngineError(f'{path}: {to} cannot write it ({reason}).') from error
        engine = load(Path(folder, path.name), 'float32', CPU)
        differences = differences_from_torch(engine, generator, noise(generator, 2, 35, 69))
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
