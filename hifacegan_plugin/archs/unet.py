"""An encoder and a decoder with connections between their levels (U-Net), without normalisation.

Source: Ronneberger et al., "U-Net", MICCAI 2015, with convolutions of stride 2 instead of pooling (Isola et al., CVPR
2017, appendix 6.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hifacegan_plugin.archs.csr.replenishment import activation
from hifacegan_plugin.archs.padding import pad_to_multiple


class Encoder(nn.Module):
    """Turn images into levels of features, each half the size of the previous one.

    Args:
        fin: channels of the images.
        widths: channels of each level, fine to coarse.
    """

    def __init__(self, fin: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.head = nn.Conv2d(fin, widths[0], 3, padding=1)
        self.down = nn.ModuleList(nn.Conv2d(fine, coarse, 4, stride=2, padding=1) for fine, coarse in pairwise(widths))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Map ``(N, fin, H, W)`` to levels ``(N, widths[i], H / 2^i, W / 2^i)``."""
        levels = [activation(self.head(x))]
        for conv in self.down:
            levels.append(activation(conv(levels[-1])))
        return levels


class Decoder(nn.Module):
    """Go from the coarsest level of an encoder up to the finest, joining the encoder's level at each size.

    Args:
        widths: channels of each level, fine to coarse, as of the encoder.
    """

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        steps = reversed(list(pairwise(widths)))
        self.up = nn.ModuleList(nn.Conv2d(coarse + fine, fine, 3, padding=1) for fine, coarse in steps)

    def forward(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """Map levels, fine to coarse, to features of the same shapes, coarse to fine; the coarsest is kept."""
        features = [levels[-1]]
        for conv, level in zip(self.up, reversed(levels[:-1]), strict=True):
            x = F.interpolate(features[-1], scale_factor=2, mode='nearest')
            features.append(activation(conv(torch.cat([x, level], 1))))
        return features


class UNet(nn.Module):
    """Map images of any size to maps of the same size.

    Args:
        fin: channels in.
        fout: channels out.
        widths: channels of each level, fine to coarse; each level after the first halves the size.
    """

    def __init__(self, fin: int, fout: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.multiple = 2 ** (len(widths) - 1)  # the encoder needs heights and widths that are multiples of this
        self.encoder = Encoder(fin, widths)
        self.decoder = Decoder(widths)
        self.tail = nn.Conv2d(widths[0], fout, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, fin, H, W)`` to ``(N, fout, H, W)``."""
        height, width = x.shape[-2:]
        features = self.decoder(self.encoder(pad_to_multiple(x, self.multiple)))
        return self.tail(features[-1])[..., :height, :width]
