"""Suppression: strip the degradation from an image and keep the semantic guidance.

Sources: Yang et al., arXiv 2005.05005, section 3.2; Gao et al., "LIP: Local Importance-Based Pooling", ICCV 2019.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LOGIT_RANGE = 12.0


class SuppressionPyramid(nn.Module):
    """Turn an image into levels of guidance, each half the size of the previous one (paper, section 3.2)."""

    def __init__(self, num_in_ch: int, widths: list[int]) -> None:
        super().__init__()
        self.head = nn.Conv2d(num_in_ch, widths[0], 3, padding=1, bias=False)
        levels = [SuppressionModule(fin, fout) for fin, fout in pairwise(widths)]
        self.levels = cast('Sequence[SuppressionModule]', nn.ModuleList(levels))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Map ``(N, C, H, W)`` to levels ``(N, widths[i], H / 2^i, W / 2^i)``, the last one not rectified."""
        levels = [F.relu(F.instance_norm(self.head(x)))]
        for module in self.levels:
            levels.append(module(levels[-1]))
            if module is not self.levels[-1]:
                levels[-1] = F.relu(levels[-1])
        return levels


class SuppressionModule(nn.Module):
    """Halve a feature map by local importance pooling, then widen it."""

    def __init__(self, fin: int, fout: int) -> None:
        super().__init__()
        self.pool = LocalImportancePool(
            logit_conv=nn.Conv2d(fin, fin, 3, padding=1, bias=False), logit_norm=nn.InstanceNorm2d(fin, affine=True)
        )
        self.conv = nn.Conv2d(fin, fout, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, fin, H, W)`` to ``(N, fout, H/2, W/2)``."""
        return F.instance_norm(self.conv(self.pool(x)))


class LocalImportancePool(nn.Module):
    """Average pooling with weights that the network learns (Gao et al., "LIP", ICCV 2019, equation 4)."""

    def __init__(self, logit_conv: nn.Conv2d, logit_norm: nn.Module) -> None:
        super().__init__()
        self.logit_conv = logit_conv
        self.logit_norm = logit_norm

    def importance(self, x: Tensor) -> Tensor:
        """Return the weight of each value of ``x`` in its average, from e^-6 to e^6, of the same shape."""
        # Logits are centred on 0: this does not change the weighted mean and avoids an overflow in half precision.
        return torch.exp(LOGIT_RANGE * (torch.sigmoid(self.logit_norm(self.logit_conv(x))) - 0.5))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, C, H, W)`` to ``(N, C, H/2, W/2)``."""
        weight = self.importance(x)
        return F.avg_pool2d(x * weight, 3, 2, padding=1) / F.avg_pool2d(weight, 3, 2, padding=1)
