"""The synthesis network of StyleGAN2 in plain PyTorch, with the parameter names of BasicSR's ``StyleGAN2Generator``.

Source: Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", CVPR 2020: weight demodulation (section
2.2, equations 1 to 3), output skips (section 4.1), and the equalised learning rates of Karras et al., "Progressive
Growing of GANs", ICLR 2018, section 4.1. BasicSR's network needs CUDA kernels of its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

START = 4  # side of the learned constant input
DEEPEST = 512  # channels of the small sizes, before they are narrowed
BLUR = (1, 3, 3, 1)  # the filter of every enlargement


def widths_of(out_size: int, channel_multiplier: int, narrow: float) -> dict[int, int]:
    """Return the channels at each size from 4 up to ``out_size``, as BasicSR has them."""
    sizes = [START << i for i in range(int(math.log2(out_size // START)) + 1)]
    return {size: int(narrow * (DEEPEST if size <= 32 else 16384 // size * channel_multiplier)) for size in sizes}


class StyleGAN2Synthesis(nn.Module):
    """From style codes to images, without the network that maps random numbers to codes.

    Args:
        out_size: side of the images, a power of 2 from 8 up.
        num_style_feat: numbers of a code.
        channel_multiplier: of the channels from 64 x 64 up.
        narrow: factor of all channels.
    """

    def __init__(self, out_size: int, num_style_feat: int, channel_multiplier: int, narrow: float) -> None:
        super().__init__()
        widths = widths_of(out_size, channel_multiplier, narrow)
        self.constant_input = Constant(widths[START])
        self.style_conv1 = StyledConv(widths[START], widths[START], num_style_feat)
        self.to_rgb1 = ToRGB(widths[START], num_style_feat)
        convs, to_rgbs, noises, fin = [], [], [torch.randn(1, 1, START, START)], widths[START]
        for size, fout in list(widths.items())[1:]:
            convs.append(StyledConv(fin, fout, num_style_feat, enlarges=True))
            convs.append(StyledConv(fout, fout, num_style_feat))
            to_rgbs.append(ToRGB(fout, num_style_feat))
            noises += torch.randn(2, 1, 1, size, size)
            fin = fout
        self.style_convs = cast('Sequence[StyledConv]', nn.ModuleList(convs))
        self.to_rgbs = cast('Sequence[ToRGB]', nn.ModuleList(to_rgbs))
        self.noises = nn.Module()
        for number, noise in enumerate(noises):
            self.noises.register_buffer(f'noise{number}', noise)

    @property
    def num_codes(self) -> int:
        """Return the number of codes that an image is made of."""
        return 2 * len(self.to_rgbs) + 2

    def forward(self, codes: Tensor, modulations: Sequence[tuple[Tensor, Tensor]] | None = None) -> Tensor:
        """Make images, around [-1, 1]; the noise is the stored one, so that an image is always the same.

        Args:
            codes: ``(N, num_codes, num_style_feat)``, coarse to fine.
            modulations: for each size from 8 up a scale and a shift, ``(N, channels // 2, size, size)``, of the second
                half of the channels: the channel-split spatial feature transform of GFP-GAN (Wang et al., "Towards
                Real-World Blind Face Restoration with Generative Facial Prior", CVPR 2021, equation 4), with
                1 + scale in place of its scale.
        """
        noises = list(self.noises.buffers())
        x = self.style_conv1(self.constant_input(len(codes)), codes[:, 0], noises[0])
        image = self.to_rgb1(x, codes[:, 1])
        for i, to_rgb in enumerate(self.to_rgbs):
            first, second = 2 * i, 2 * i + 1
            x = self.style_convs[first](x, codes[:, first + 1], noises[first + 1])
            if modulations:
                scale, shift = modulations[i]
                kept, changed = x.split([x.shape[1] - scale.shape[1], scale.shape[1]], 1)
                x = torch.cat([kept, changed * (1 + scale) + shift], 1)
            x = self.style_convs[second](x, codes[:, second + 1], noises[second + 1])
            image = enlarge(image) + to_rgb(x, codes[:, second + 2])
        return image


class Constant(nn.Module):
    """The learned constant input of the network."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(1, channels, START, START))

    def forward(self, count: int) -> Tensor:
        """Return it for ``count`` images."""
        return self.weight.expand(count, -1, -1, -1)


class StyledConv(nn.Module):
    """A style-modulated convolution, noise, bias and leaky ReLU; may double the size."""

    def __init__(self, fin: int, fout: int, num_style_feat: int, enlarges: bool = False) -> None:
        super().__init__()
        self.modulated_conv = ModulatedConv(fin, fout, 3, num_style_feat, demodulates=True, enlarges=enlarges)
        self.weight = nn.Parameter(torch.zeros(1))  # strength of the noise
        self.activate = BiasedActivation(fout)

    def forward(self, x: Tensor, code: Tensor, noise: Tensor) -> Tensor:
        """Map ``(N, fin, H, W)`` to ``(N, fout, H, W)``, or twice the size."""
        return self.activate(self.modulated_conv(x, code) + self.weight * noise)


class ToRGB(nn.Module):
    """Turn features into their contribution to the image."""

    def __init__(self, fin: int, num_style_feat: int) -> None:
        super().__init__()
        self.modulated_conv = ModulatedConv(fin, 3, 1, num_style_feat)
        self.bias = nn.Parameter(torch.zeros(1, 3, 1, 1))

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        """Map ``(N, fin, H, W)`` to ``(N, 3, H, W)``."""
        return self.modulated_conv(x, code) + self.bias


class ModulatedConv(nn.Module):
    """A convolution whose input channels are scaled by a style, and whose output is scaled back to unit variance.

    The paper scales the weights for each image. Scaling the features before and after is equivalent, and lets all
    images of a batch share one convolution.
    """

    def __init__(
        self,
        fin: int,
        fout: int,
        kernel: int,
        num_style_feat: int,
        demodulates: bool = False,
        enlarges: bool = False,
    ) -> None:
        super().__init__()
        self.demodulates = demodulates
        self.enlarges = enlarges
        self.modulation = Modulation(num_style_feat, fin)
        self.weight = nn.Parameter(torch.randn(1, fout, fin, kernel, kernel))

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        """Map ``(N, fin, H, W)`` to ``(N, fout, H, W)``, or twice the size."""
        scales = self.modulation(code)
        weight = self.weight[0] / math.sqrt(self.weight[0, 0].numel())
        x = x * scales[..., None, None]
        if self.enlarges:
            x = blur(F.conv_transpose2d(x, weight.transpose(0, 1), stride=2))
        else:
            x = F.conv2d(x, weight, padding=weight.shape[-1] // 2)
        if self.demodulates:
            norms = scales.square() @ weight.square().sum((2, 3)).T
            x = x * torch.rsqrt(norms + 1e-8)[..., None, None]
        return x


class Modulation(nn.Linear):
    """From a style code to the scale of each channel, with an equalised learning rate."""

    def __init__(self, num_style_feat: int, channels: int) -> None:
        super().__init__(num_style_feat, channels)
        nn.init.normal_(self.weight)
        nn.init.ones_(self.bias)

    def forward(self, code: Tensor) -> Tensor:
        """Map ``(N, num_style_feat)`` to ``(N, channels)``."""
        return F.linear(code, self.weight / math.sqrt(self.in_features), self.bias)


class BiasedActivation(nn.Module):
    """A bias and a leaky ReLU that keeps the variance."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, channels, H, W)`` to the same shape."""
        return math.sqrt(2) * F.leaky_relu(x + self.bias[:, None, None], 0.2)


def blur(x: Tensor) -> Tensor:
    """Smooth the output of a stride-2 transposed convolution, ``(N, C, 2H + 1, 2W + 1)`` to ``(N, C, 2H, 2W)``."""
    return F.conv2d(x, _blur_kernel(x), padding=1, groups=x.shape[1])


def enlarge(x: Tensor) -> Tensor:
    """Double the size of images ``(N, C, H, W)``; beyond the border they are 0."""
    return F.conv_transpose2d(x, _blur_kernel(x), stride=2, padding=1, groups=x.shape[1])


def _blur_kernel(x: Tensor) -> Tensor:
    """Return the filter of enlargements for each channel of ``x``, of sum 4."""
    line = torch.tensor(BLUR, dtype=x.dtype, device=x.device)
    kernel = torch.outer(line, line)
    return (4 * kernel / kernel.sum()).expand(x.shape[1], 1, -1, -1)


def average_of_codes(state_dict: dict[str, Tensor], count: int) -> Tensor:
    """Return the mean ``(num_style_feat,)`` of codes that a mapping network computes from random numbers.

    Args:
        state_dict: the weights of a whole StyleGAN2, in BasicSR's layout: ``style_mlp.1`` and so on.
        count: how many codes to average; they always come from the same random numbers.
    """
    layers = sorted({int(key.split('.')[1]) for key in state_dict if key.startswith('style_mlp.')})
    features = state_dict[f'style_mlp.{layers[0]}.weight'].shape[1]
    x = torch.randn(count, features, generator=torch.Generator().manual_seed(0))
    x = x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-8)
    for layer in layers:
        weight, bias = (state_dict[f'style_mlp.{layer}.{part}'].float().cpu() for part in ('weight', 'bias'))
        # The mapping network learns at a hundredth of the rate (section 4.6 and appendix B of the StyleGAN paper).
        x = math.sqrt(2) * F.leaky_relu(F.linear(x, 0.01 / math.sqrt(features) * weight, 0.01 * bias), 0.2)
    return x.mean(0)
