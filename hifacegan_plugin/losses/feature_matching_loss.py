"""Feature matching: make the discriminator's features of restored images match those of the ground truth."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CRITERIA = {'l1': F.l1_loss, 'l2': F.mse_loss}


class FeatureMatchingLoss(nn.Module):
    """Distance between the discriminator's features of two images (pix2pixHD, Wang et al., CVPR 2018, equation 4).

    Summed over all layers except the logits, averaged over the scales, and multiplied by ``loss_weight``.

    Args:
        criterion: ``l1`` (paper) or ``l2``, averaged over each feature map.
        loss_weight: weight of the loss (paper: 10).

    Raises:
        ValueError: ``criterion`` is unknown.
    """

    def __init__(self, criterion: str = 'l1', loss_weight: float = 10.0) -> None:
        super().__init__()
        if criterion not in CRITERIA:
            raise ValueError(f'criterion: {criterion!r} is not one of {", ".join(CRITERIA)}.')
        self.criterion = CRITERIA[criterion]
        self.loss_weight = loss_weight

    def forward(self, fake: list[list[Tensor]], real: list[list[Tensor]]) -> Tensor:
        """Compare the outputs of a multiscale discriminator for restored images and the ground truth.

        Args:
            fake: outputs ``(N, C, h, w)`` of all layers for the restored images, by scale; the logits come last.
            real: the same for the ground truth; detached.

        Returns:
            The loss, a scalar, at least 0.

        Raises:
            ValueError: the discriminator returns only logits.
        """
        if isinstance(fake, Tensor) or any(isinstance(scale, Tensor) or len(scale) < 2 for scale in fake):
            raise ValueError(
                'feature_matching_opt: network_d does not return the outputs of all its layers for each scale, '
                'which this loss compares: use MultiscalePatchDiscriminator, or remove feature_matching_opt.'
            )
        losses = [
            self.criterion(fake_layer, real_layer.detach())
            for fake_scale, real_scale in zip(fake, real, strict=True)
            for fake_layer, real_layer in zip(fake_scale[:-1], real_scale[:-1], strict=True)
        ]
        return self.loss_weight * torch.stack(losses).sum() / len(fake)


class GANFeatLoss(FeatureMatchingLoss):
    """Alias: BasicSR's own HiFaceGAN options file uses this name, but BasicSR does not contain the loss."""
