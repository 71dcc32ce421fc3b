"""Accumulating gradients over iterations, in several processes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

from torch import nn
from torch.nn.parallel import DistributedDataParallel


@contextmanager
def without_exchange(networks: Iterable[nn.Module]) -> Iterator[None]:
    """Keep processes from exchanging gradients, which only the last of the backward passes of an update needs."""
    with ExitStack() as stack:
        for network in networks:
            if isinstance(network, DistributedDataParallel):
                stack.enter_context(network.no_sync())
        yield
