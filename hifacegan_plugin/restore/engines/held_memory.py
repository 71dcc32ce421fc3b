"""Measure the memory of a network that no table lists: count the tensors that it holds while it runs."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

# Allows for the buffers of convolution libraries, such as tensor copies in another layout. Measured on a CPU: a 4x
# RRDBNet takes 1.6 times the memory of its tensors, a SwinIR 1.1 times.
WORKSPACES = 1.7


def measure_bytes_per_pixel(network: nn.Module, channels: int, side: int) -> int:
    """Return the peak memory of a network in bytes for each pixel of an image, without its weights.

    Args:
        network: ``(1, channels, H, W)`` -> any tensor; on any device.
        channels: number of channels of the image.
        side: side of the square test image in pixels; the result hardly depends on it.
    """
    weight = next(network.parameters())
    image = torch.zeros(1, channels, side, side).to(weight)
    with torch.inference_mode(), _HeldTensors() as held:
        network(image)
    return int(WORKSPACES * held.most / side**2)


class _HeldTensors(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of all live tensors that operations have returned."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.most = 0
        self._now = 0
        self._known = set[int]()

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                self._add(tensor.untyped_storage())
        self.most = max(self.most, self._now)
        return result

    def _add(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key not in self._known:
            self._known.add(key)
            self._now += size
            weakref.finalize(storage, self._remove, key, size)

    def _remove(self, key: int, size: int) -> None:
        self._known.remove(key)
        self._now -= size
