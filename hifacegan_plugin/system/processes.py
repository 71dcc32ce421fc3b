"""The processes of a distributed training: what they exchange, and explaining the loss of a peer."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

# How gloo and NCCL report that a peer is gone.
LOST = re.compile(r'by peer|Broken pipe|remote (worker|process)|Timed out waiting|timed? ?out|NCCL|ncclRemote', re.I)


def gather_from_all(value: Any) -> list[Any]:
    """Return the values of all processes, ordered by rank; outside a distributed training, the value alone."""
    if not dist.is_initialized():
        return [value]
    values: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


@contextmanager
def without_exchange(networks: Iterable[nn.Module]) -> Iterator[None]:
    """Keep processes from exchanging gradients, which only the last of the backward passes of an update needs."""
    with ExitStack() as stack:
        for network in networks:
            if isinstance(network, DistributedDataParallel):
                stack.enter_context(network.no_sync())
        yield


@contextmanager
def explain_lost_peer() -> Iterator[None]:
    """Explain the loss of a peer process where communication fails because of it.

    Raises:
        ConnectionError: a peer process has ended or cannot be reached.
    """
    try:
        yield
    except RuntimeError as error:
        if not dist.is_initialized() or not LOST.search(str(error)):
            raise
        reason = str(error).partition('. ')[0]
        raise ConnectionError(
            f'Process {dist.get_rank()}: another process of this training has ended or cannot be reached; its own '
            f'output says why. This one ends, too. --auto_resume goes on from the last checkpoint. ({reason})'
        ) from None
