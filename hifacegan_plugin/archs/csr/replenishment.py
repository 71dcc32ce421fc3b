"""Replenishment: blocks that add detail back, each steered by the guidance of its own scale.

Sources: Yang et al., arXiv 2005.05005, section 3.3; Park et al., "Semantic Image Synthesis with Spatially-Adaptive
Normalization" (SPADE), CVPR 2019.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

NORMS = ('batch', 'syncbatch', 'instance', 'rms')
GUIDANCE_HIDDEN = 128  # width of the hidden layer between guidance and gamma, beta


class ReplenishmentBlock(nn.Module):
    """Residual block whose normalisation is modulated by the guidance (SPADE; Park et al., CVPR 2019, figure 4)."""

    def __init__(self, fin: int, fout: int, guidance: int, norm: str) -> None:
        super().__init__()
        middle = min(fin, fout)
        self.norm = norm
        self.spade_0 = Spade(fin, guidance)
        self.conv_0 = nn.Conv2d(fin, middle, 3, padding=1)
        self.spade_1 = Spade(middle, guidance)
        self.conv_1 = nn.Conv2d(middle, fout, 3, padding=1)
        self.learned_shortcut = fin != fout
        if self.learned_shortcut:
            self.spade_s = Spade(fin, guidance)
            self.conv_s = nn.Conv2d(fin, fout, 1, bias=False)

    @property
    def own_convs(self) -> list[nn.Conv2d]:
        """Return the convolutions outside SPADE: those that carry spectral normalisation."""
        return [module for module in self.children() if isinstance(module, nn.Conv2d)]

    def forward(self, x: Tensor, guidance: Tensor) -> Tensor:
        """Map ``x (N, fin, H, W)`` and ``guidance (N, C, any size)`` to ``(N, fout, H, W)``."""
        if guidance.shape[-2:] != x.shape[-2:]:
            guidance = F.interpolate(guidance, size=x.shape[-2:], mode='nearest')
        normalised = normalise(x, self.norm, self.training)
        out = self.conv_0(activation(self.spade_0(normalised, guidance)))
        out = normalise(out, self.norm, self.training)
        out = self.conv_1(activation(self.spade_1(out, guidance)))
        return out + (self.conv_s(self.spade_s(normalised, guidance)) if self.learned_shortcut else x)


class Spade(nn.Module):
    """Scale and shift normalised features at each pixel by the guidance (Park et al., equation 1).

    Unlike in the SPADE paper, the scale is gamma, not 1 + gamma, and gamma and beta have no bias.
    """

    def __init__(self, channels: int, guidance: int) -> None:
        super().__init__()
        hidden = min(GUIDANCE_HIDDEN, channels)
        self.shared = nn.Conv2d(guidance, hidden, 3, padding=1)
        self.gamma = nn.Conv2d(hidden, channels, 3, padding=1, bias=False)
        self.beta = nn.Conv2d(hidden, channels, 3, padding=1, bias=False)

    def forward(self, normalised: Tensor, guidance: Tensor) -> Tensor:
        """Map ``normalised (N, channels, H, W)`` to the same shape; ``guidance (N, C, H, W)``."""
        hidden = F.relu(self.shared(guidance))
        return torch.addcmul(self.beta(hidden), normalised, self.gamma(hidden))


def activation(x: Tensor, inplace: bool = False) -> Tensor:
    """Apply the leaky ReLU of the whole network."""
    return F.leaky_relu(x, 0.2, inplace)


def normalise(x: Tensor, norm: str, training: bool) -> Tensor:
    """Normalise ``x (N, C, H, W)`` channel by channel, without parameters.

    Outside training, each image is normalised by its own statistics, whatever ``norm`` is. The reference's test script
    does the same, one image at a time.
    """
    if norm == 'rms':
        # The reference passes the number of channels as epsilon to its "instance" norm, and its weights expect that.
        wide = x.to(torch.promote_types(x.dtype, torch.float32))  # in float16, squares overflow from 256 up
        return x * torch.rsqrt(wide.square().mean((2, 3), keepdim=True) + x.shape[1]).to(x.dtype)
    if norm == 'instance' or not training:
        return F.instance_norm(x)
    if norm == 'syncbatch' and dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        mean, variance = _statistics_of_all_processes(x)
        return ((x - mean) * torch.rsqrt(variance + 1e-5)).to(x.dtype)
    return F.batch_norm(x, None, None, training=True)


def _statistics_of_all_processes(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and variance ``(1, C, 1, 1)``, float32, over the batches of all processes; all have the same size.

    torch's SyncBatchNorm runs on GPUs only; this runs on every backend. Each process fills its own row of a table, and
    the table is summed over all processes. So one exchange is enough, and no variance is a difference of large numbers.
    """
    x = x.float()  # a mean that is large compared with the spread needs float32, also with train: amp
    local = torch.stack([x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)])
    table = x.new_zeros(dist.get_world_size(), *local.shape)
    table[dist.get_rank()] = local
    means, variances = _SumOverProcesses.apply(table).unbind(1)
    mean = means.mean(0)
    variance = (variances + (means - mean).square()).mean(0)
    return mean.view(1, -1, 1, 1), variance.view(1, -1, 1, 1)


class _SumOverProcesses(torch.autograd.Function):
    """Sum a tensor over all processes, and its gradient too, because every process's loss depends on the sum."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        dist.all_reduce(total)
        return total
