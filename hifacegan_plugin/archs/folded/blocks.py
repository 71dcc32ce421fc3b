"""The parts of :class:`~hifacegan_plugin.archs.folded.network.FoldedCSR`, which work on strips of rows."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hifacegan_plugin.archs.csr.replenishment import ReplenishmentBlock, Spade, activation
from hifacegan_plugin.archs.csr.suppression import LOGIT_RANGE, SuppressionModule
from hifacegan_plugin.archs.folded.strips import RowConv2d, Rows, Statistics, Strip, grow, rescale


class FoldedSuppression(nn.Module):
    """One level of the suppression pyramid."""

    def __init__(self, module: SuppressionModule) -> None:
        super().__init__()
        self.logit_conv = RowConv2d(module.pool.logit_conv.weight)
        norm = cast('nn.InstanceNorm2d', module.pool.logit_norm)
        self.logit_scale = nn.Parameter(norm.weight.detach().view(-1, 1, 1), requires_grad=False)
        self.logit_shift = nn.Parameter(norm.bias.detach().view(-1, 1, 1), requires_grad=False)
        self.conv = RowConv2d(module.conv.weight)  # the following instance norm removes any bias

    def logit(self, x: Rows) -> Rows:
        """Return the importance of every value of ``x``, not yet normalised."""
        return lambda strip: self.logit_conv(x(grow(strip, 1)), strip)

    def narrow(self, x: Rows, logit: Rows, statistics: Statistics) -> Rows:
        """Return the next level, half as high and wide, not yet normalised."""
        # exp(12 (sigmoid(z) - 1/2)) = exp(6 tanh(z / 2))
        scale = statistics.scale * self.logit_scale / 2
        shift = (statistics.shift * self.logit_scale + self.logit_shift) / 2

        def pool(strip: Strip | None) -> Tensor:
            source = strip and Strip(max(2 * strip.start - 1, 0), 2 * strip.stop, 2 * strip.height)
            padding = (int(source is None or source.start == 0), 1)
            weight = rescale(logit(source), scale, shift).tanh_().mul_(LOGIT_RANGE / 2).exp_()
            weighted = F.avg_pool2d(x(source) * weight, 3, 2, padding)
            return weighted.div_(F.avg_pool2d(weight, 3, 2, padding))

        return lambda strip: self.conv(pool(grow(strip, 1)), strip)


class FoldedBlock(nn.Module):
    """One replenishment block, in two halves: the second needs statistics of the output of the first."""

    def __init__(self, block: ReplenishmentBlock) -> None:
        super().__init__()
        keep_bias = block.norm == 'rms'  # the other norms remove it
        self.spade_0 = FoldedSpade(block.spade_0)
        self.conv_0 = RowConv2d(block.conv_0.weight, block.conv_0.bias if keep_bias else None)
        self.spade_1 = FoldedSpade(block.spade_1)
        self.conv_1 = RowConv2d(block.conv_1.weight, block.conv_1.bias)
        self.learned_shortcut = block.learned_shortcut
        if self.learned_shortcut:
            self.spade_s = FoldedSpade(block.spade_s, block.conv_s.weight)
            self.conv_s = nn.Parameter(block.conv_s.weight.detach().clone(), requires_grad=False)

    @property
    def widest(self) -> int:
        """Number of channels of the widest intermediate tensor."""
        return 2 * self.conv_0.in_channels

    def middle(self, normalised: Rows, guidance: Rows) -> Rows:
        """Return the output of the first half, ``(N, middle, H, W)``, not yet normalised."""

        def compute(strip: Strip | None) -> Tensor:
            wide = grow(strip, 1)
            gamma, beta = self.spade_0(guidance, wide)
            return self.conv_0(modulate(normalised(wide), gamma, beta), strip)

        return compute

    def outcome(self, x: Rows, normalised: Rows, middle: Rows, guidance: Rows) -> Rows:
        """Return the output of the block, ``(N, fout, H, W)``, from the normalised output of the first half."""

        def compute(strip: Strip | None) -> Tensor:
            wide = grow(strip, 1)
            gamma, beta = self.spade_1(guidance, wide)
            out = self.conv_1(modulate(middle(wide), gamma, beta), strip)
            if not self.learned_shortcut:
                return out.add_(x(strip))
            gamma, beta = self.spade_s(guidance, strip)
            return out.add_(beta).add_(F.conv2d(gamma.mul_(normalised(strip)), self.conv_s))

        return compute


class FoldedSpade(nn.Module):
    """Compute gamma and beta from guidance.

    One convolution for both would read its input only once, but splitting its output costs more: 2 % of OpenVINO's
    time, 5 % of torch's.

    Args:
        spade: the module to fold.
        projection: weights ``(fout, channels, 1, 1)`` of a convolution to compose into beta.
    """

    def __init__(self, spade: Spade, projection: Tensor | None = None) -> None:
        super().__init__()
        beta = spade.beta.weight
        if projection is not None:
            beta = torch.einsum('oc,chij->ohij', projection.flatten(1), beta)
        self.hidden = RowConv2d(spade.shared.weight, spade.shared.bias)
        self.gamma = RowConv2d(spade.gamma.weight)
        self.beta = RowConv2d(beta)

    def forward(self, guidance: Rows, strip: Strip | None) -> tuple[Tensor, Tensor]:
        """Return the rows ``strip`` of gamma and beta."""
        wide = grow(strip, 1)
        hidden = F.relu_(self.hidden(guidance(grow(wide, 1)), wide))
        return self.gamma(hidden, strip), self.beta(hidden, strip)


def modulate(normalised: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    """Apply gamma, beta and the leaky ReLU; the result overwrites beta."""
    return activation(beta.addcmul_(normalised, gamma), inplace=True)
