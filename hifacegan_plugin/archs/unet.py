"""An encoder and a decoder with connections between their levels (U-Net), without normalisation."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hifacegan_plugin.archs.replenishment import activation


class UNet(nn.Module):
    """Map images to maps of the same size.

    Source: Ronneberger et al., MICCAI 2015, with convolutions of stride 2 instead of pooling (Isola et al., CVPR 2017,
    appendix 6.1).

    Args:
        fin: channels in.
        fout: channels out.
        widths: channels of each level, fine to coarse; each level after the first halves the size.
    """

    def __init__(self, fin: int, fout: int, widths: list[int]) -> None:
        super().__init__()
        self.head = nn.Conv2d(fin, widths[0], 3, padding=1)
        self.down = nn.ModuleList(nn.Conv2d(fine, coarse, 4, stride=2, padding=1) for fine, coarse in pairwise(widths))
        steps = reversed(list(pairwise(widths)))
        self.up = nn.ModuleList(nn.Conv2d(coarse + fine, fine, 3, padding=1) for fine, coarse in steps)
        self.tail = nn.Conv2d(widths[0], fout, 3, padding=1)

    @property
    def multiple(self) -> int:
        """Return what heights and widths have to be multiples of."""
        return 2 ** len(self.down)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, fin, H, W)`` to ``(N, fout, H, W)``."""
        levels = [activation(self.head(x))]
        for conv in self.down:
            levels.append(activation(conv(levels[-1])))
        x = levels.pop()
        for conv in self.up:
            x = F.interpolate(x, scale_factor=2, mode='nearest')
            x = activation(conv(torch.cat([x, levels.pop()], 1)))
        return self.tail(x)
