"""Devices by name: ``cpu``, ``cuda:0``, ``xpu:0`` (Intel), ``mps`` (Apple); their free memory, and running out of it.

Tested on CPUs and NVIDIA GPUs. Other devices use the same torch functions and are untested; before use, their output is
compared with the CPU's (:func:`hifacegan_plugin.restore.engines.starting.open_engine`).
"""

from __future__ import annotations

import re

import torch

CPU = 'cpu'
ACCELERATORS = ('cuda', 'xpu', 'mps')  # known to torch, in the order in which `auto` tries them

# Messages of torch on CUDA, XPU, MPS and CPUs, of ONNX Runtime and of the C++ library; not all have an error class.
_OUT_OF_MEMORY = re.compile(
    r"out of memory|(failed|unable|can't|cannot) (to )?allocate|bad_alloc|smaller than requested bytes", re.I
)


class EngineError(ValueError):
    """An engine or device is missing, or does not support what is asked of it; the message names the fix."""


def kind_of(device: str) -> str:
    """Return the kind of a device: ``cuda`` for ``cuda:1``."""
    return device.partition(':')[0]


def choose_device(name: str) -> str:
    """Return the torch device for a name.

    Args:
        name: ``cpu``; ``cuda``, ``xpu`` or ``mps``, with ``:1`` for the second of its kind, without a number for the
            current one; ``auto``: the first of ``cuda``, ``xpu``, ``mps`` that exists, else ``cpu``.

    Raises:
        EngineError: if there is no such device.
    """
    if name == 'auto':
        name = next((kind for kind in ACCELERATORS if count_devices(kind)), CPU)
    kind, _, index = name.partition(':')
    if kind not in (CPU, *ACCELERATORS) or not (index.isdecimal() or name == kind):
        raise EngineError(f'device {name!r}: choose auto, cpu, cuda, cuda:1 (the second), mps or xpu.')
    if kind == CPU:
        return CPU
    there = count_devices(kind)
    if int(index or 0) >= there:
        raise EngineError(
            f'device {name}: torch {torch.__version__} finds {there} of kind {kind} here. Use auto or cpu.'
        )
    if kind == 'mps':
        return kind
    return f'{kind}:{index or torch.get_device_module(kind).current_device()}'


def count_devices(kind: str) -> int:
    """Return how many accelerators of a kind torch can use here."""
    if kind not in ACCELERATORS:
        return 0
    if kind == 'mps':
        return int(torch.backends.mps.is_available())
    devices = torch.get_device_module(kind)
    return devices.device_count() if devices.is_available() else 0


def unused_memory(device: str) -> int:
    """Return the bytes of an accelerator that are free, or reserved by torch but unused."""
    devices = torch.get_device_module(kind_of(device))
    if kind_of(device) == 'mps':
        return devices.recommended_max_memory() - devices.current_allocated_memory()
    held = devices.memory_reserved(device) - devices.memory_allocated(device)
    return devices.mem_get_info(device)[0] + held


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error of any engine means that the device or the machine ran out of memory."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or bool(_OUT_OF_MEMORY.search(str(error)))


def release_unused_memory(device: str) -> None:
    """Release the unused memory that torch has reserved on an accelerator."""
    if count_devices(kind_of(device)):
        torch.get_device_module(kind_of(device)).empty_cache()
