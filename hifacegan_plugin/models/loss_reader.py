"""Reading of losses from the device, and the decision whether to continue training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from hifacegan_plugin.models.divergence import DivergenceGuard


def can_read_late(
    device: torch.device, optimizers: Sequence[Optimizer], accumulate_iters: int, scaler: torch.amp.GradScaler
) -> bool:
    """Return whether losses can be read one iteration late, so that the GPU does not wait for the CPU."""
    fused = all(optimizer.defaults.get('fused') for optimizer in optimizers)
    return device.type == 'cuda' and fused and accumulate_iters == 1 and not scaler.is_enabled()


class LossReader:
    """Averages the losses of an iteration over all processes and reads them, immediately or one iteration late.

    Late losses cannot prevent the update of an iteration with a loss that is not finite. Instead, fused optimisers skip
    the update on the device, see :meth:`let_skip`.

    Args:
        guard: decides what to do if losses are not finite.
        late: whether to read losses one iteration late.
        world_size: number of processes; all of them call the same methods.
    """

    def __init__(self, guard: DivergenceGuard, late: bool, world_size: int) -> None:
        self.late = late
        self._guard = guard
        self._world_size = world_size
        self._pending: PendingLosses | None = None  # of the last iteration
        self._read: dict[str, float] = {}

    def read(
        self, iteration: int, losses: Mapping[str, Tensor], stop: bool, batch: dict[str, Any]
    ) -> tuple[bool, bool]:
        """Read the losses of this iteration or, if ``late``, of the previous one.

        Args:
            iteration: number of this iteration.
            losses: losses of this iteration by name; scalar tensors on the same device.
            stop: whether this process was asked to stop.
            batch: images of this iteration.

        Returns:
            Whether the weights may be updated, and whether any process was asked to stop.

        Raises:
            FloatingPointError: losses are not finite, and the training cannot continue or should stop.
        """
        previous, self._pending = self._pending, self._start(iteration, losses, stop, batch)
        if not self.late:
            return self._finish(self._pending)
        return True, previous is not None and self._finish(previous)[1]

    def finish(self) -> None:
        """Read the losses of the last iteration, if they have not been read yet.

        Raises:
            FloatingPointError: as in :meth:`read`.
        """
        if self.late and self._pending is not None:
            self._finish(self._pending)
            self._pending = None

    def let_skip(self, optimizer: Optimizer) -> None:
        """Make a fused optimiser skip its next step on the device if the losses of this iteration are not finite."""
        if self.late and self._pending is not None:
            optimizer.found_inf = self._pending.not_finite  # type: ignore[attr-defined]  # fused optimisers check it

    def of_last_iteration(self) -> dict[str, float]:
        """Return the losses of the last iteration by name. Synchronizes with the device."""
        if self.late and self._pending is not None:
            self._read = self._pending.read()[0]
        return self._read

    def _start(self, iteration: int, losses: Mapping[str, Tensor], stop: bool, batch: dict[str, Any]) -> PendingLosses:
        asked = torch.full((), float(stop), device=next(iter(losses.values())).device)
        values = torch.stack([*(loss.detach().float() for loss in losses.values()), asked])
        if self._world_size > 1:
            torch.distributed.all_reduce(values)
            values /= self._world_size
        return PendingLosses(iteration, tuple(losses), values, batch)

    def _finish(self, pending: PendingLosses) -> tuple[bool, bool]:
        """Wait for the losses of an iteration; return whether they are finite, and whether to stop."""
        losses, stop = pending.read()
        is_finite = self._guard.check(pending.iteration, losses, pending.batch)
        self._read = losses if is_finite else {}
        return is_finite, stop


class PendingLosses:
    """Losses that are being copied to the CPU, and their batch.

    Args:
        iteration: number of the iteration.
        names: names of the losses.
        values: the losses on the device, followed by a value above 0 if any process was asked to stop.
        batch: images of the iteration, kept until the losses are known to be finite.
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
        """Wait for the copy; return the losses by name and whether any process was asked to stop."""
        if self._copied:
            self._copied.synchronize()
        *losses, asked = self._values.tolist()
        return dict(zip(self.names, losses, strict=True)), asked > 0
