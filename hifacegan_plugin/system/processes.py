"""Communication between the processes of a distributed training, and a clear error when a process is lost."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

# Messages of gloo and NCCL when another process has ended.
LOST = re.compile(r'by peer|Broken pipe|remote (worker|process)|Timed out waiting|timed? ?out|NCCL|ncclRemote', re.I)


def gather_from_all(value: Any) -> list[Any]:
    """Return the values of all processes, ordered by rank; ``[value]`` outside a distributed training."""
    if not dist.is_initialized():
        return [value]
    values: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


@contextmanager
def without_exchange(networks: Iterable[nn.Module]) -> Iterator[None]:
    """Do not synchronize gradients in backward passes inside the block, as when gradients are accumulated."""
    with ExitStack() as stack:
        for network in networks:
            if isinstance(network, DistributedDataParallel):
                stack.enter_context(network.no_sync())
        yield


@contextmanager
def explain_lost_peer() -> Iterator[None]:
    """Turn communication errors that are caused by the loss of another process into a clear one.

    Raises:
        ConnectionError: another process has ended or cannot be reached.
    """
    try:
        yield
    except RuntimeError as error:
        if not dist.is_initialized() or not LOST.search(str(error)):
            raise
        reason = str(error).partition('. ')[0]
        raise ConnectionError(
            f'Process {dist.get_rank()}: another process of this training has ended or cannot be reached; its own '
            f'output says why. Exiting; --auto_resume continues from the last checkpoint. ({reason})'
        ) from None
