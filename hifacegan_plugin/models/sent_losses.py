"""The losses of an iteration on their way from the device to where they are read."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class SentLosses:
    """Losses whose copying has begun, and the batch that they are of.

    Args:
        iteration: that they are of.
        names: of the losses.
        values: the losses, and last whether (> 0) any process was asked to stop; on the device.
        batch: kept until the losses are known to be finite.
    """

    def __init__(self, iteration: int, names: tuple[str, ...], values: Tensor, batch: dict[str, Any]) -> None:
        self.iteration = iteration
        self.names = names
        self.batch = batch
        self.not_finite = 1 - torch.isfinite(values).all().float()  # 1.0 or 0.0, on the device
        self._values = values.to('cpu', non_blocking=True)
        self._arrived = torch.cuda.Event() if values.is_cuda else None
        if self._arrived:
            self._arrived.record()

    def read(self) -> tuple[dict[str, float], bool]:
        """Wait until they are here; return them by name, and whether any process was asked to stop."""
        if self._arrived:
            self._arrived.synchronize()
        *losses, asked = self._values.tolist()
        return dict(zip(self.names, losses, strict=True)), asked > 0
