"""Restoring by a guide: another image of the same person, warped to the pose and expression of the degraded one.

Source: Li et al., "Learning Warped Guidance for Blind Face Restoration" (GFRNet), ECCV 2018, section 3.
"""

from __future__ import annotations

from typing import Literal, overload

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hifacegan_plugin.archs.arguments import check_counts
from hifacegan_plugin.archs.unet import UNet

LEVEL_WIDTHS = (1, 2, 4, 8, 8, 8)  # of both networks, fine to coarse, in units of num_feat


class GuidedRestorer(nn.Module):
    """Restore images with the help of another image of the same person.

    A warping network takes both images and predicts where in the guide to find each pixel of the restored image. A
    reconstruction network takes the degraded image and the warped guide and restores the image. As in GFRNet, both are
    U-Nets. Unlike in GFRNet, they have no normalisation, so results do not depend on the other images in the batch, any
    size works, and the second network predicts a correction of the degraded image.

    Train it with ``warping_opt`` and ``flow_opt``, on a ``DegradationDataset`` with ``guide``.

    Args:
        num_in_ch: channels of the images.
        num_feat: base width.

    Raises:
        ValueError: for numbers below 1.
    """

    takes_guide = True
    byproducts = ('warped_guide', 'flow')

    def __init__(self, num_in_ch: int = 3, num_feat: int = 64) -> None:
        super().__init__()
        check_counts(type(self).__name__, num_in_ch=num_in_ch, num_feat=num_feat)
        widths = [width * num_feat for width in LEVEL_WIDTHS]
        self.num_in_ch = num_in_ch
        self.warping = UNet(2 * num_in_ch, 2, widths)
        self.reconstruction = UNet(2 * num_in_ch, num_in_ch, widths)
        for tail in (self.warping.tail, self.reconstruction.tail):  # at first, the guide and the image pass unchanged
            for parameter in tail.parameters():
                nn.init.zeros_(parameter)

    @overload
    def forward(self, x: Tensor, guide: Tensor) -> Tensor: ...

    @overload
    def forward(self, x: Tensor, guide: Tensor, with_byproducts: Literal[True]) -> tuple[Tensor, dict[str, Tensor]]: ...

    def forward(
        self, x: Tensor, guide: Tensor, with_byproducts: bool = False
    ) -> Tensor | tuple[Tensor, dict[str, Tensor]]:
        """Restore ``x``.

        Args:
            x: degraded images ``(N, num_in_ch, H, W)``, RGB in [0, 1], of any size.
            guide: an image of the same person for each, of the same size.
            with_byproducts: also return the additional outputs for losses: ``warped_guide``, of the same shape, and
                ``flow``, ``(N, 2, H, W)``: the offset of each pixel in the guide to the right and downwards, in units
                of half the width and half the height.

        Returns:
            Restored images of the same shape.

        Raises:
            ValueError: the guides have another shape.
        """
        if guide.shape != x.shape:
            raise ValueError(
                f'GuidedRestorer needs guides of the shape of the images, {tuple(x.shape)}, not {tuple(guide.shape)}: '
                'resize them.'
            )
        flow = self.warping(torch.cat([x, guide], 1))
        warped = warp(guide, flow)
        image = x + self.reconstruction(torch.cat([x, warped], 1))
        return (image, {'warped_guide': warped, 'flow': flow}) if with_byproducts else image


def warp(images: Tensor, flow: Tensor) -> Tensor:
    """Sample each pixel at its position plus the flow, bilinearly; positions outside use the nearest border pixel.

    Args:
        images: ``(N, C, H, W)``.
        flow: ``(N, 2, H, W)``: offsets to the right and downwards, in units of half the width and half the height.
    """
    height, width = images.shape[-2:]
    dtype = torch.promote_types(flow.dtype, torch.float32)  # bfloat16 cannot tell neighbouring pixels apart
    across, down = (
        (torch.arange(length, device=images.device, dtype=dtype) * 2 + 1) / length - 1 for length in (width, height)
    )
    here = torch.stack(torch.meshgrid(across, down, indexing='xy'))
    grid = (here + flow).movedim(1, -1)
    return F.grid_sample(images.to(dtype), grid, padding_mode='border', align_corners=False).to(images.dtype)
