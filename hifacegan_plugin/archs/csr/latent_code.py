"""The start of the variant ``vae``: a latent code of the degraded image.

Source: Park et al., "Semantic Image Synthesis with Spatially-Adaptive Normalization" (SPADE), CVPR 2019, section 3
("Using a random input allows multi-modal synthesis") and appendix A, the image encoder: six convolutions of stride 2
and two linear layers for mean and variance.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hifacegan_plugin.archs.csr.replenishment import activation

LATENT = 256  # length of a code
ENCODED_SIDE = 256  # pixels; images are resized to this before they are encoded
ENCODER_WIDTHS = (1, 2, 4, 8, 8, 8)  # in units of num_feat
ENCODED_AREA = (ENCODED_SIDE >> len(ENCODER_WIDTHS)) ** 2
START_SIDE = 8  # side of the map made from a code: the coarsest level of an image of ENCODED_SIDE


class LatentCode(NamedTuple):
    """A normal distribution of codes for each image: mean and log-variance, both ``(N, LATENT)``."""

    mean: Tensor
    log_variance: Tensor

    def draw(self, training: bool) -> Tensor:
        """Draw a code by the reparametrisation trick, so that gradients reach both parameters.

        Outside training, return the mean.
        """
        if not training:
            return self.mean
        return self.mean + torch.exp(0.5 * self.log_variance) * torch.randn_like(self.mean)


class LatentEncoder(nn.Module):
    """From an image to the distribution of its latent code."""

    def __init__(self, num_in_ch: int, num_feat: int) -> None:
        super().__init__()
        widths = [num_in_ch, *(width * num_feat for width in ENCODER_WIDTHS)]
        self.convs = nn.ModuleList(
            nn.Conv2d(fin, fout, 3, stride=2, padding=1, bias=False) for fin, fout in pairwise(widths)
        )
        self.mean = nn.Linear(widths[-1] * ENCODED_AREA, LATENT)
        self.log_variance = nn.Linear(widths[-1] * ENCODED_AREA, LATENT)

    def forward(self, x: Tensor) -> LatentCode:
        """Encode images ``(N, num_in_ch, H, W)`` of any size."""
        x = F.interpolate(x, size=(ENCODED_SIDE, ENCODED_SIDE), mode='bilinear', align_corners=False)
        for conv in self.convs:
            x = activation(F.instance_norm(conv(x)))
        x = x.flatten(1)
        return LatentCode(self.mean(x), self.log_variance(x))


def spread_code(start: Tensor, height: int, width: int) -> Tensor:
    """Turn ``(N, C * START_SIDE^2)``, made from a code, into the start ``(N, C, height, width)``."""
    start = start.reshape(-1, start.shape[1] // START_SIDE**2, START_SIDE, START_SIDE)
    return F.interpolate(start, size=(height, width), mode='bilinear', align_corners=False)
