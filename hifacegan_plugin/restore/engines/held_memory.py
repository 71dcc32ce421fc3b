"""Measuring the memory of a network that is in no table: the tensors that it holds are counted while it runs."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

# What libraries of convolutions hold beside the tensors, such as copies in an order of their own: measured on a CPU, an
# RRDBNet that enlarges four times takes 1.6 times what its tensors do, a SwinIR 1.1 times.
WORKSPACES = 1.7


def measure_bytes_per_pixel(network: nn.Module, channels: int, side: int) -> int:
    """Return the most bytes that a network takes at a time for each pixel of an image, besides its weights.

    Args:
        network: ``(1, channels, H, W)`` -> any tensor; on any device.
        channels: of the image.
        side: of the square image that it is run on; what is needed for each pixel hardly depends on it.
    """
    weight = next(network.parameters())
    image = torch.zeros(1, channels, side, side).to(weight)
    with torch.inference_mode(), _HeldTensors() as held:
        network(image)
    return int(WORKSPACES * held.most / side**2)


class _HeldTensors(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of all tensors that operations have returned and that are still held."""

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
