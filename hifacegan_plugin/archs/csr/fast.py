"""The CSR network for small budgets (``preset: fast``).

It keeps the principle of CSR: a pyramid of content-adaptive suppression, in which each level steers the replenishment
at its own scale. It drops the parts that the paper's network needs for GPU-days of adversarial training; docs/fast.md
gives the gain of each change. No layer computes statistics over the whole image, so tiles of a large image are restored
exactly like the whole image.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hifacegan_plugin.archs.arguments import check_choice
from hifacegan_plugin.archs.csr.network import NAME, CSRNetwork
from hifacegan_plugin.archs.csr.replenishment import activation
from hifacegan_plugin.archs.csr.shapes import FINEST_WIDTH, SCALES
from hifacegan_plugin.archs.csr.suppression import LocalImportancePool

Conv = TypeVar('Conv', bound=nn.Conv2d)

CPU_CAPABILITY = torch.backends.cpu.get_cpu_capability()  # 'AVX512', 'AVX2', 'DEFAULT', ...


class FastCSR(CSRNetwork):
    """The network for small budgets; the arguments are those of :func:`~hifacegan_plugin.archs.CSRGenerator`.

    It has no normalisation and no variants, and always predicts a correction.

    Raises:
        ValueError: for an unknown ``num_scales``.
    """

    preset = 'fast'
    smallest_side = 16
    global_residual = True

    def __init__(self, num_in_ch: int = 3, num_feat: int = 64, num_scales: int = SCALES[0]) -> None:
        super().__init__()
        check_choice(NAME, 'num_scales', num_scales, SCALES)
        self.num_in_ch = num_in_ch
        self.num_feat = num_feat
        self.num_scales = num_scales
        self.block_levels = tuple(reversed(range(num_scales)))
        widths = [(FINEST_WIDTH + level) * num_feat for level in range(num_scales)]
        coarse_to_fine = widths[::-1]
        self.suppression = FastPyramid(num_in_ch, widths)
        self.start = BorderConv2d(num_in_ch, widths[-1])
        blocks = [FastReplenishmentBlock(fin, fout, fout) for fin, fout in pairwise([widths[-1], *coarse_to_fine])]
        self.blocks = cast('Sequence[nn.Module]', nn.ModuleList(blocks))
        self.to_picture = starting_at_zero(BorderConv2d(widths[0], num_in_ch))

    @property
    def reach(self) -> int:
        """Return the radius of the receptive field in pixels: pixels farther away do not influence a result.

        It is the sum of the radii of all layers from input to output, in pixels of the full size: 3 for the head,
        4 * 2^i for the pooling and the convolution after level i, 2^i for the upsampling to level i, 4 * 2^i for its
        two residual pairs, and 1 for the output.
        """
        deepest = self.multiple
        return 3 + 4 * (deepest - 1) + (deepest - 1) + 4 * (2 * deepest - 1) + 1

    @property
    def options(self) -> dict[str, Any]:
        """Return the options of ``CSRGenerator`` that build a network of this shape."""
        return {name: getattr(self, name) for name in ('num_in_ch', 'num_feat', 'preset', 'num_scales')}

    def suppress(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the start, at the size of the coarsest unit, and the guidance of each unit, coarse to fine."""
        x = x.contiguous(memory_format=fastest_layout(x.device, self.training))
        levels = self.suppression(x)
        return self.start(x[..., :: self.multiple, :: self.multiple]), levels[::-1]


class FastPyramid(nn.Module):
    """From an image to levels of guidance, each half the size of the one before, without normalisation."""

    def __init__(self, num_in_ch: int, widths: list[int]) -> None:
        super().__init__()
        # The full size holds most of the detail, so it gets a residual pair before it guides a unit.
        self.head = nn.Sequential(BorderConv2d(num_in_ch, widths[0]), ResidualConvs(widths[0]))
        self.levels = nn.ModuleList(FastSuppressionModule(fin, fout) for fin, fout in pairwise(widths))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Map ``(N, C, H, W)`` to levels ``(N, widths[i], H / 2^i, W / 2^i)``."""
        levels = [activation(self.head(x))]
        for module in self.levels:
            levels.append(activation(module(levels[-1])))
        return levels


class FastSuppressionModule(nn.Module):
    """Halve a feature map by local importance pooling, then widen it, like :class:`SuppressionModule`."""

    def __init__(self, fin: int, fout: int) -> None:
        super().__init__()
        # With logits of zero, the pooling is an average at first.
        self.pool = LocalImportancePool(logit_conv=starting_at_zero(BorderConv2d(fin, fin)), logit_norm=nn.Identity())
        self.conv = BorderConv2d(fin, fout)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, fin, H, W)`` to ``(N, fout, H/2, W/2)``."""
        return self.conv(self.pool(x))


class FastReplenishmentBlock(nn.Module):
    """Modulate features once by the guidance, then refine them by residual convolutions.

    The shift is the guidance itself. The scale is 1 + gamma; a 1x1 convolution that starts at zero computes gamma.
    """

    def __init__(self, fin: int, fout: int, guidance: int) -> None:
        super().__init__()
        self.narrow = nn.Conv2d(fin, fout, 1) if fin != fout else nn.Identity()
        self.gamma = starting_at_zero(nn.Conv2d(guidance, fout, 1))
        self.refine = nn.ModuleList(ResidualConvs(fout) for _ in range(2))

    def forward(self, x: Tensor, guidance: Tensor) -> Tensor:
        """Map ``x (N, fin, H, W)`` and ``guidance (N, fout, H, W)`` to ``(N, fout, H, W)``."""
        x = self.narrow(x)
        x = torch.addcmul(x + guidance, x, self.gamma(guidance))
        for convs in self.refine:
            x = convs(x)
        return x


class ResidualConvs(nn.Module):
    """Two convolutions around an activation, which add nothing at first (Lim et al., "EDSR", CVPRW 2017, figure 2)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_0 = BorderConv2d(channels, channels)
        self.conv_1 = starting_at_zero(BorderConv2d(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, channels, H, W)`` to the same shape."""
        return x + self.conv_1(activation(self.conv_0(x)))


class BorderConv2d(nn.Conv2d):
    """A 3x3 convolution that pads by repeating the border.

    Zero padding marks the border, which is near every pixel of a 64-pixel crop but far from most pixels of an image. A
    network trained with zero padding gets brightness and colour wrong inside an image.
    """

    def __init__(self, fin: int, fout: int) -> None:
        super().__init__(fin, fout, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, fin, H, W)`` to ``(N, fout, H, W)``."""
        return F.conv2d(continue_border(x), self.weight, self.bias)


def fastest_layout(device: torch.device, training: bool) -> torch.memory_format:
    """Return the memory layout in which the network is fastest: channels-last, with one exception.

    On processors with AVX2 but without AVX-512, the gradients of channels-last convolutions are slow: an iteration of
    the training takes up to twice as long (benchmarks/memory_layout.py).
    """
    if training and device.type == 'cpu' and CPU_CAPABILITY == 'AVX2':
        return torch.contiguous_format
    return torch.channels_last


def continue_border(x: Tensor) -> Tensor:
    """Repeat the border of ``(N, C, H, W)`` once on every side: ``(N, C, H + 2, W + 2)``, in the same memory layout."""
    if torch.compiler.is_compiling() and torch.is_grad_enabled():
        # torch's compiler fails on the padding below, because it expects a contiguous gradient where the gradient is
        # channels-last. It fuses these concatenations; without the compiler, their gradient takes eight times as long.
        # Without a gradient, torch 2.11 on a GPU fails on the concatenations ("... is not comparable"), but not on the
        # padding.
        x = torch.cat([x[..., :1], x, x[..., -1:]], 3)
        return torch.cat([x[..., :1, :], x, x[..., -1:, :]], 2)
    return F.pad(x, (1, 1, 1, 1), mode='replicate')


def starting_at_zero(conv: Conv) -> Conv:
    """Set the weights of a convolution to zero, so that at first it adds nothing."""
    for parameter in conv.parameters():
        nn.init.zeros_(parameter)
    return conv
