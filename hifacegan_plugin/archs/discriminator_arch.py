"""The discriminator of HiFaceGAN: PatchGANs that look at the image at several scales.

Source: Wang et al., "pix2pixHD", CVPR 2018, section 3.2, as HiFaceGAN uses it (arXiv 2005.05005, section 3.4).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from hifacegan_plugin.archs.arguments import check_choice, check_counts
from hifacegan_plugin.archs.initial_weights import INITS, init_weights
from hifacegan_plugin.archs.published_layouts import describe_mismatch, to_plugin_layout
from hifacegan_plugin.archs.spectral_norm import apply_spectral_norm

MAX_WIDTH = 512


class MultiscalePatchDiscriminator(nn.Module):
    """Judge pairs of a degraded and a restored or true image, patch by patch, at several scales.

    Each scale has half the resolution of the previous one.

    Args:
        num_in_ch: channels of the degraded image.
        num_out_ch: channels of the image that is judged.
        num_feat: width of the first layer; doubles from layer to layer, up to 512.
        num_d: number of scales.
        n_layers_d: convolutions before the one that returns the logits.
        init: initial weights, as in :func:`hifacegan_plugin.archs.CSRGenerator`.

    Raises:
        ValueError: for an unknown ``init`` and numbers below 1.
    """

    def __init__(
        self,
        num_in_ch: int = 3,
        num_out_ch: int = 3,
        num_feat: int = 64,
        num_d: int = 2,
        n_layers_d: int = 4,
        init: str = 'xavier',
    ) -> None:
        super().__init__()
        name = type(self).__name__
        check_choice(name, 'init', init, INITS)
        check_counts(
            name, num_in_ch=num_in_ch, num_out_ch=num_out_ch, num_feat=num_feat, num_d=num_d, n_layers_d=n_layers_d
        )
        self.scales = nn.ModuleList(
            PatchDiscriminator(num_in_ch + num_out_ch, num_feat, n_layers_d, init) for _ in range(num_d)
        )

    def forward(self, x: Tensor) -> list[list[Tensor]]:
        """Judge pairs.

        Fake and real pairs go through as one batch.

        Args:
            x: degraded image and judged image stacked, ``(N, num_in_ch + num_out_ch, H, W)``, in [0, 1].

        Returns:
            For each scale the outputs of all its layers, the logits ``(N, 1, h, w)`` last.
        """
        outputs: list[list[Tensor]] = []
        for scale in self.scales:
            if outputs:
                x = F.avg_pool2d(x, 3, 2, padding=1, count_include_pad=False)
            outputs.append(scale(x))
        return outputs

    def load_state_dict(self, state_dict: Mapping[str, Tensor], strict: bool = True, assign: bool = False) -> Any:
        """Load weights in this plugin's layout or the published one (the reference's, which is BasicSR's).

        Raises:
            RuntimeError: with ``strict``, if keys are missing, unexpected or of the wrong shape; names them.
        """
        state_dict = to_plugin_layout(state_dict, self.state_dict())
        if strict and (problem := describe_mismatch(type(self).__name__, state_dict, self.state_dict())):
            raise RuntimeError(problem)
        return super().load_state_dict(state_dict, strict, assign)


class PatchDiscriminator(nn.Module):
    """One scale: a stack of 4x4 convolutions. All their outputs are kept for feature matching."""

    def __init__(self, num_in_ch: int, num_feat: int, n_layers: int, init: str) -> None:
        super().__init__()
        widths = [min(num_feat * 2**i, MAX_WIDTH) for i in range(n_layers)]
        first, inner = nn.Conv2d(num_in_ch, widths[0], 4, 2, padding=2), list[nn.Conv2d]()
        for i in range(1, n_layers):
            stride = 1 if i == n_layers - 1 else 2
            inner.append(nn.Conv2d(widths[i - 1], widths[i], 4, stride, padding=2, bias=False))
        self.convs = nn.ModuleList([first, *inner, nn.Conv2d(widths[-1], 1, 4, padding=2)])
        init_weights(self, init, inner)
        for conv in inner:
            apply_spectral_norm(conv)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Map ``(N, C, H, W)`` to the outputs of all layers; the last one holds the logits ``(N, 1, h, w)``."""
        outputs = []
        for i, conv in enumerate(self.convs):
            x = conv(x)
            if 0 < i < len(self.convs) - 1:
                x = F.instance_norm(x)
            if i < len(self.convs) - 1:
                x = F.leaky_relu(x, 0.2)
            outputs.append(x)
        return outputs
