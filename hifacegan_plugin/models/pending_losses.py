"""The losses of an iteration while they are copied from the device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


def start_reading(
    iteration: int, losses: Mapping[str, Tensor], stop: bool, batch: dict[str, Any], world_size: int
) -> PendingLosses:
    """Average the losses, and whether to stop, over all processes, and start copying them to the CPU.

    Args:
        iteration: the iteration that computed them.
        losses: by name; tensors of one number, all on the same device.
        stop: whether this process was asked to stop.
        batch: the images of the iteration.
        world_size: number of processes; all of them call this.
    """
    asked = torch.full((), float(stop), device=next(iter(losses.values())).device)
    values = torch.stack([*(loss.detach().float() for loss in losses.values()), asked])
    if world_size > 1:
        torch.distributed.all_reduce(values)
        values /= world_size
    return PendingLosses(iteration, tuple(losses), values, batch)


class PendingLosses:
    """Losses that are being copied to the CPU, and the batch they belong to.

    Args:
        iteration: the iteration that computed them.
        names: names of the losses.
        values: on the device: the losses, and last whether (> 0) any process was asked to stop.
        batch: the images of the iteration, kept until the losses are known to be finite.
    """

    def __init__(self, iteration: int, names: tuple[str, ...], values: Tensor, batch: dict[str, Any]) -> None:
        self.iteration = iteration
        self.names = names
        self.batch = batch
        self.not_finite = 1 - torch.isfinite(values).all().float()  # 1.0 or 0.0, on the device
        self._values = values.to('cpu', non_blocking=True)
        self._copied = torch.cuda.Event() if values.is_cuda else None  # type: ignore[no-untyped-call]
        if self._copied:
            self._copied.record()

    def read(self) -> tuple[dict[str, float], bool]:
        """Wait for the copy; return the losses by name, and whether any process was asked to stop."""
        if self._copied:
            self._copied.synchronize()
        *losses, asked = self._values.tolist()
        return dict(zip(self.names, losses, strict=True)), asked > 0
