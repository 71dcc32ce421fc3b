"""The interface of an engine, and networks rewritten for inference.

An engine is a function from images ``(N, C, H, W)``, float32 in [0, 1], to images ``(N, C, scale * H, scale * W)``. H
and W are at least the smallest side of the network. Any number of threads may call it at the same time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from copy import deepcopy

import numpy as np
import torch
from torch import Tensor, nn

from hifacegan_plugin.archs.csr.fast import FastCSR
from hifacegan_plugin.archs.csr.paper import PaperCSR
from hifacegan_plugin.archs.folded.network import FoldedCSR, pad
from hifacegan_plugin.archs.folded.strips import Walk
from hifacegan_plugin.weights import Network

Engine = Callable[[np.ndarray], np.ndarray]

DTYPES = {'float32': torch.float32, 'bfloat16': torch.bfloat16, 'float16': torch.float16}
TRACING = threading.RLock()  # held while torch traces a network for an exporter or a compiler, which use global state


class Unchanged(nn.Module):
    """Runs a network unchanged, because nothing in it can be folded.

    Args:
        network: its weights are copied.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = deepcopy(network).eval()
        self.dtype = torch.float32

    def compute_in(self, dtype: torch.dtype) -> Unchanged:
        """Compute in ``dtype`` from now on."""
        self.dtype = dtype
        return self.to(dtype)

    def forward(self, x: Tensor, walk: Walk | None = None) -> Tensor:
        """Restore ``x (N, num_in_ch, H, W)``, float32 in [0, 1], in one pass."""
        return self.network(x.to(self.dtype))


class DynamicCSR(Unchanged):
    """Runs a :class:`FastCSR` in a form that graph exporters can trace with dynamic sizes."""

    network: FastCSR

    def __init__(self, generator: FastCSR) -> None:
        super().__init__(generator)
        self.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor, walk: Walk | None = None) -> Tensor:
        """Restore ``x``, as :meth:`Unchanged.forward`."""
        height, width = x.shape[-2:]
        x = pad(pad(x, 2, self.network.multiple), 3, self.network.multiple)
        out = x + self.network.replenish(*self.network.suppress(x.to(self.dtype)))
        return out[..., :height, :width]


def network_for(generator: Network, dtype: str = 'float32') -> FoldedCSR | Unchanged:
    """Return the network that an engine runs: a copy, rewritten for inference."""
    network: FoldedCSR | Unchanged
    if type(generator) is PaperCSR:  # a derived class may compute something else
        network = FoldedCSR(generator)
    elif type(generator) is FastCSR:
        network = DynamicCSR(generator)
    else:
        network = Unchanged(generator)
    return network.compute_in(DTYPES[dtype])


def differences_from_torch(engine: Engine, generator: Network, images: Tensor) -> np.ndarray:
    """Return the absolute differences of an engine's output from that of the network, in float32 on the CPU."""
    with torch.inference_mode():
        expected = deepcopy(generator).eval()(images).numpy()
    return np.abs(engine(images.numpy()) - expected)


def noise(generator: Network, count: int = 1, more_rows: int = 0, more_columns: int = 0) -> Tensor:
    """Return noise images, always the same, of the smallest size that the network takes or larger."""
    side = generator.smallest_side
    shape = (count, generator.num_in_ch, side + more_rows, side + more_columns)
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))  # does not advance the global generator
