"""Pad images to a size that a network can halve."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def pad_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """Pad images ``(N, C, H, W)`` below and on the right to multiples of a number.

    Padding reflects the image, or repeats the border if a side is too short to reflect.
    """
    height, width = x.shape[-2:]
    below, right = -height % multiple, -width % multiple
    x = F.pad(x, (0, 0, 0, below), mode='reflect' if below < height else 'replicate')
    return F.pad(x, (0, right, 0, 0), mode='reflect' if right < width else 'replicate')
