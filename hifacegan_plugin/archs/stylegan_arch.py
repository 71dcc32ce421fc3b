"""Restoration with a generative prior: an encoder steers a StyleGAN2.

Sources: Richardson et al., "Encoding in Style: a StyleGAN Encoder for Image-to-Image Translation" (pSp), CVPR 2021,
section 3: a code for each layer, as a difference from the average code; Wang et al., "Towards Real-World Blind Face
Restoration with Generative Facial Prior" (GFP-GAN), CVPR 2021, section 3: features of a U-Net that modulate the
generator at each size.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hifacegan_plugin.archs.arguments import check_counts
from hifacegan_plugin.archs.published_layouts import describe_mismatch
from hifacegan_plugin.archs.stylegan2 import DEEPEST, START, StyleGAN2Synthesis, average_of_codes, widths_of
from hifacegan_plugin.archs.unet import Decoder, Encoder

WIDEST = 8  # of the encoder, in units of num_feat
CODES_AVERAGED = 4096
OF_THE_MAPPING = 'style_mlp.'


class StyleGANRestorer(nn.Module):
    """Restore aligned faces with a StyleGAN2 as a prior of faces.

    Images are resized to ``out_size`` x ``out_size``, and the restored images back to the original size.

    Weights of BasicSR's ``StyleGAN2Generator`` load into :attr:`generator` (``path: pretrain_network_g``, with
    ``param_key_g: params_ema``); the encoder then learns from scratch. ``train: lr_factors: {generator: 0}`` freezes
    the generator; a factor of 0.1 lowers its learning rate. Without such weights, the whole network learns from
    scratch.

    Args:
        num_in_ch: channels of the images; 3, which is what StyleGAN2 makes.
        num_feat: base width of the encoder.
        out_size: side of the images of the generator, a power of 2 from 8 to 1024.
        num_style_feat: numbers of a style code (FFHQ: 512).
        channel_multiplier: of the generator's channels from 64 x 64 up, 1 or 2.
        narrow: factor of all channels of the generator (FFHQ: 1).
        spatial: also modulate the generator by features of the encoder at each size (GFP-GAN). The features hold what
            codes do not, such as positions. Without them, the image is made from codes alone (pSp).

    Raises:
        ValueError: an invalid ``out_size`` or ``num_in_ch``, numbers below 1, or too few channels.
    """

    average_code: Tensor

    def __init__(
        self,
        num_in_ch: int = 3,
        num_feat: int = 64,
        out_size: int = 512,
        num_style_feat: int = 512,
        channel_multiplier: int = 2,
        narrow: float = 1.0,
        spatial: bool = True,
    ) -> None:
        super().__init__()
        if out_size not in [START << i for i in range(1, 9)]:
            raise ValueError(f'StyleGANRestorer: out_size: {out_size} is not a power of 2 from 8 to 1024.')
        if num_in_ch != 3:
            raise ValueError(f'StyleGANRestorer: num_in_ch: {num_in_ch}: a StyleGAN2 makes images of 3 channels.')
        check_counts('StyleGANRestorer', num_feat=num_feat, num_style_feat=num_style_feat)
        self.num_in_ch = num_in_ch
        self.out_size = out_size
        widths = widths_of(out_size, channel_multiplier, narrow)
        if min(widths.values()) < 2:
            raise ValueError(
                f'StyleGANRestorer: channel_multiplier: {channel_multiplier}, narrow: {narrow}: too few channels.'
            )
        levels = [num_feat * min(2**level, WIDEST) for level in range(len(widths))]
        self.encoder = Encoder(num_in_ch, levels)
        self.generator = StyleGAN2Synthesis(out_size, num_style_feat, channel_multiplier, narrow)
        self.codes = nn.Linear(levels[-1] * START**2, self.generator.num_codes * num_style_feat)
        self.register_buffer('average_code', torch.zeros(num_style_feat))
        self.spatial = spatial
        if spatial:
            self.decoder = Decoder(levels)
            fine_to_coarse = list(widths.values())[:0:-1]
            self.modulations = nn.ModuleList(
                nn.Conv2d(level, 2 * (width // 2), 3, padding=1)
                for level, width in reversed(list(zip(levels, fine_to_coarse)))
            )
            for conv in self.modulations:  # at first, do not change the generator's features
                for parameter in conv.parameters():
                    nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        """Restore images ``(N, 3, H, W)``, RGB in [0, 1], of any size; the same shape."""
        height, width = x.shape[-2:]
        levels = self.encoder(_resized(x, (self.out_size, self.out_size)))
        offsets = self.codes(levels[-1].flatten(1)).unflatten(1, (self.generator.num_codes, -1))
        modulations = None
        if self.spatial:
            features = self.decoder(levels)[1:]
            modulations = [conv(level).chunk(2, 1) for conv, level in zip(self.modulations, features, strict=True)]
        image = self.generator(self.average_code + offsets, modulations)
        return _resized((image + 1) / 2, (height, width))

    def load_state_dict(self, state_dict: Mapping[str, Tensor], strict: bool = True, assign: bool = False) -> Any:
        """Load weights of this network, or those of a StyleGAN2 in BasicSR's layout for its generator.

        Raises:
            RuntimeError: with ``strict``, if the weights do not fit; for a StyleGAN2, names its size.
        """
        if not any(key.startswith(OF_THE_MAPPING) for key in state_dict):
            return super().load_state_dict(state_dict, strict, assign)
        synthesis = {key: value for key, value in state_dict.items() if not key.startswith(OF_THE_MAPPING)}
        if problem := describe_mismatch('the generator of StyleGANRestorer', synthesis, self.generator.state_dict()):
            raise RuntimeError(problem + _describe_size(synthesis))
        self.generator.load_state_dict(synthesis, assign=assign)
        self.average_code.copy_(average_of_codes(dict(state_dict), CODES_AVERAGED))
        return super().load_state_dict(self.state_dict())  # returns that no keys are missing or unexpected


def _describe_size(synthesis: Mapping[str, Tensor]) -> str:
    """Return a line that names the options with which the weights of a StyleGAN2 would fit; empty if they show none."""
    size = START << len([key for key in synthesis if re.fullmatch(r'to_rgbs\.\d+\.bias', key)])
    try:
        narrow = synthesis['constant_input.weight'].shape[1] / DEEPEST
        num_style_feat = synthesis['to_rgb1.modulated_conv.modulation.weight'].shape[1]
        widest = synthesis['style_convs.6.modulated_conv.weight'].shape[1] if size > 32 else 256 * narrow  # at 64 x 64
    except (KeyError, IndexError):
        return ''
    return (
        f'\n  They look like out_size: {size}, num_style_feat: {num_style_feat}, channel_multiplier: '
        f'{widest / 256 / narrow:g}, narrow: {narrow:g}: set this under network_g of the options file.'
    )


def _resized(images: Tensor, size: tuple[int, int]) -> Tensor:
    if images.shape[-2:] == size:
        return images
    return F.interpolate(images, size=size, mode='bilinear', align_corners=False, antialias=True)
