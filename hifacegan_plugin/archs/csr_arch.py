"""The generator of HiFaceGAN: nested collaborative suppression and replenishment (CSR).

A picture runs down a *suppression pyramid*, which strips the degradation scale by scale and leaves semantic guidance;
then *replenishment blocks* paint detail back from coarse to fine, each steered by the guidance of its own scale.

Source: Yang et al., "HiFaceGAN: Face Renovation via Collaborative Suppression and Replenishment", ACM MM 2020
(arXiv 2005.05005), section 3. The two baselines of its ablation are variants of the same class.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import pairwise
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import spectral_norm
from torch.utils.checkpoint import checkpoint

from hifacegan_plugin.archs.published_layouts import MARKERS, describe_mismatch, to_plugin_layout, without_markers

logger = logging.getLogger('basicsr.hifacegan_plugin')

VARIANTS = ('csr', 'lip_spade', 'spade')
NORMS = ('batch', 'syncbatch', 'instance', 'rms')

DOWNSCALE = 32  # of the deepest level; heights and widths are padded to a multiple of it
MIN_SIZE = 64  # below it the deepest level is a single pixel, which has no statistics

# Widths in units of num_feat, and halvings of the picture, along the network (paper, figure 2).
LEVEL_WIDTHS = (1, 2, 4, 8, 16, 16)
BLOCK_WIDTHS = (16, 16, 16, 8, 4, 2, 1)
BLOCK_LEVELS = (5, 4, 4, 3, 2, 1, 0)
GUIDANCE_HIDDEN = 128  # width of the hidden layer between guidance and gamma, beta

LOGIT_RANGE = 12.0


class CSRGenerator(nn.Module):
    """Restores a picture without being told what is wrong with it.

    In ``train()`` mode the normalisation inside the replenishment blocks follows ``norm``; in ``eval()`` mode each
    picture is normalised by its own statistics and spectral norm is frozen, so that the result is deterministic and
    never depends on the neighbours in the batch.

    Args:
        num_in_ch: channels of the picture, in and out.
        num_feat: base width (paper: 64; 48 fits cards with 12 GB).
        variant: ``csr`` is the paper's network. ``lip_spade`` steers every block by the picture and starts from the
            last suppression level (the published checkpoints, BasicSR's ``HiFaceGAN``). ``spade`` has no pyramid at
            all (Park et al., CVPR 2019).
        norm: ``batch``, ``syncbatch`` (statistics of all processes), ``instance`` or ``rms`` (x / sqrt(mean of x^2 over
            the picture + number of channels): what the reference computes under the name "instance").
        global_residual: predict a correction that is added to the input, instead of the picture itself. Beyond the
            paper; decides at small budgets.

    Raises:
        ValueError: for an unknown ``variant`` or ``norm``.
    """

    def __init__(
        self,
        num_in_ch: int = 3,
        num_feat: int = 64,
        variant: str = 'csr',
        norm: str = 'batch',
        global_residual: bool = False,
    ) -> None:
        super().__init__()
        _check_choice('variant', variant, VARIANTS)
        _check_choice('norm', norm, NORMS)
        self.num_in_ch = num_in_ch
        self.num_feat = num_feat
        self.variant = variant
        self.norm = norm
        self.global_residual = global_residual
        self.gradient_checkpointing = False  # in training, compute the insides of the blocks twice to save memory
        self.halvings = 0  # of the size of the output; more than 0 in the coarse phases of progressive training

        if variant != 'spade':
            self.suppression = SuppressionPyramid(num_in_ch, num_feat)
        if variant != 'lip_spade':
            self.start = nn.Conv2d(num_in_ch, BLOCK_WIDTHS[0] * num_feat, 3, padding=1)
        self.blocks = nn.ModuleList()
        fin = BLOCK_WIDTHS[0] * num_feat
        for width, level in zip(BLOCK_WIDTHS, BLOCK_LEVELS):
            guidance = LEVEL_WIDTHS[level] * num_feat if variant == 'csr' else num_in_ch
            self.blocks.append(ReplenishmentBlock(fin, width * num_feat, guidance, norm))
            fin = width * num_feat
        self.to_picture = nn.Conv2d(fin, num_in_ch, 3, padding=1)

        init_weights(self)
        # Spectral norm comes last, because it estimates the norm of the weights that it finds.
        for block in self.blocks:
            block.apply_spectral_norm()

    def forward(self, x: Tensor) -> Tensor:
        """Restore ``x``.

        Args:
            x: degraded pictures ``(N, num_in_ch, H, W)``, RGB in [0, 1]; any H and W from 64 up.

        Returns:
            Restored pictures of the same shape. They pass through tanh, so that values lie in (-1, 1), around [0, 1]
            once trained; with ``global_residual`` the input is added. In the coarse phases of progressive training
            they are ``2^halvings`` times smaller in ``train()`` mode, and enlarged from that size in ``eval()`` mode.

        Raises:
            ValueError: if a side is shorter than 64 pixels.
        """
        height, width = x.shape[-2:]
        if min(height, width) < MIN_SIZE:
            raise ValueError(
                f'CSRGenerator takes pictures from {MIN_SIZE} x {MIN_SIZE} pixels up, got {height} x {width}: '
                'enlarge or pad them (in an options file: raise gt_size or set resize).'
            )
        x = F.pad(x, (0, -width % DOWNSCALE, 0, -height % DOWNSCALE), mode='reflect')
        out = self.replenish(*self.suppress(x))
        if self.global_residual:
            out = out + (F.avg_pool2d(x, 2**self.halvings) if self.halvings else x)
        if not self.training:
            out = F.interpolate(out, size=x.shape[-2:], mode='bilinear') if self.halvings else out
            return out[..., :height, :width]
        return out[..., : -(-height >> self.halvings), : -(-width >> self.halvings)]

    def suppress(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Strip the degradation: from a picture to what the replenishment starts from and is steered by.

        Args:
            x: pictures ``(N, num_in_ch, H, W)``, H and W multiples of 32.

        Returns:
            The start ``(N, 16 nf, H/32, W/32)`` and the guidance of each of the seven blocks, coarse to fine.
        """
        levels = [] if self.variant == 'spade' else self.suppression(x)
        if self.variant == 'lip_spade':
            start = levels[-1]
        else:
            start = self.start(F.interpolate(x, scale_factor=1 / DOWNSCALE, mode='nearest'))
        if self.variant == 'csr':
            return start, [levels[level] for level in BLOCK_LEVELS]
        return start, [x] * len(self.blocks)

    def replenish(self, start: Tensor, guidance: list[Tensor]) -> Tensor:
        """Paint detail back, coarse to fine.

        Args:
            start: ``(N, 16 nf, H/32, W/32)``.
            guidance: seven tensors as :meth:`suppress` gives them; mixing those of two pictures shows what each unit
                contributes (paper, figure 7).

        Returns:
            Pictures ``(N, num_in_ch, H / 2^halvings, W / 2^halvings)`` in (-1, 1).
        """
        x, level = start, BLOCK_LEVELS[0]
        for block, block_level, block_guidance in zip(self.blocks, BLOCK_LEVELS, guidance):
            if block_level < self.halvings:
                break
            if block_level < level:
                x = F.interpolate(x, scale_factor=2, mode='nearest')
                level = block_level
            if self.gradient_checkpointing and self.training:
                x = checkpoint(block, x, block_guidance, use_reentrant=False, context_fn=block.recomputing)
            else:
                x = block(x, block_guidance)
        return torch.tanh(self.output_at(self.halvings)(activation(x)))

    def output_at(self, halvings: int) -> nn.Module:
        """Give the convolution that makes a picture ``2^halvings`` times smaller than the input."""
        return self.coarse_outputs[-halvings] if halvings else self.to_picture

    def add_coarse_outputs(self) -> None:
        """Add the outputs at an eighth, a quarter and half the size, which progressive training starts with."""
        widths = [width * self.num_feat for width, level in zip(BLOCK_WIDTHS, BLOCK_LEVELS) if 0 < level < 4]
        self.coarse_outputs = nn.ModuleList(nn.Conv2d(width, self.num_in_ch, 3, padding=1) for width in widths)
        init_weights(self.coarse_outputs)

    def load_state_dict(self, state_dict: Mapping[str, Tensor], strict: bool = True, assign: bool = False):  # noqa: ANN201
        """Load weights in this plugin's layout, the reference implementation's or BasicSR's, unconverted.

        Weights that are marked as those of a network with other options load, with a warning.

        Raises:
            RuntimeError: with ``strict``, if keys are missing, left over or misshapen; names them and the options
                that the weights were likely made with.
        """
        state_dict = to_plugin_layout(state_dict, self.state_dict())
        if strict and (problem := describe_mismatch(state_dict, self)):
            raise RuntimeError(problem)
        marked = dict(MARKERS[key] for key in state_dict if key in MARKERS)
        for option in ('norm', 'global_residual'):  # the phase of progressive training follows the iteration
            if option in marked and getattr(self, option) != marked[option]:
                logger.warning(
                    f'These weights are of a network with {option}: {marked[option]}, not {getattr(self, option)}: '
                    'set it under network_g of the options file, unless you mean to train them anew.'
                )
        return super().load_state_dict(without_markers(state_dict), strict, assign)

    def _save_to_state_dict(self, destination: dict[str, Tensor], prefix: str, keep_vars: bool) -> None:
        """Mark, in every state dict, what leaves no trace in the weights."""
        super()._save_to_state_dict(destination, prefix, keep_vars)
        for key, (option, value) in MARKERS.items():
            if getattr(self, option) == value:
                destination[prefix + key] = torch.ones(1)


class SuppressionPyramid(nn.Module):
    """From a picture to six levels of guidance, each half the size of the one before (paper, section 3.2)."""

    def __init__(self, num_in_ch: int, num_feat: int) -> None:
        super().__init__()
        widths = [width * num_feat for width in LEVEL_WIDTHS]
        self.head = nn.Conv2d(num_in_ch, widths[0], 3, padding=1, bias=False)
        self.levels = nn.ModuleList(SuppressionModule(fin, fout) for fin, fout in pairwise(widths))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Map ``(N, C, H, W)`` to six levels ``(N, width * nf, H / 2^i, W / 2^i)``, the last one not rectified."""
        levels = [F.relu(F.instance_norm(self.head(x)))]
        for module in self.levels:
            levels.append(module(levels[-1]))
            if len(levels) < len(LEVEL_WIDTHS):
                levels[-1] = F.relu(levels[-1])
        return levels


class SuppressionModule(nn.Module):
    """Halve a feature map by what matters in it, then widen it."""

    def __init__(self, fin: int, fout: int) -> None:
        super().__init__()
        self.pool = LocalImportancePool(fin)
        self.conv = nn.Conv2d(fin, fout, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, fin, H, W)`` to ``(N, fout, H/2, W/2)``."""
        return F.instance_norm(self.conv(self.pool(x)))


class LocalImportancePool(nn.Module):
    """Average pooling with weights that the network learns (Gao et al., "LIP", ICCV 2019, equation 4)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.logit_conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.logit_norm = nn.InstanceNorm2d(channels, affine=True)

    def importance(self, x: Tensor) -> Tensor:
        """Give the weight of each value of ``x`` in its average, from e^-6 to e^6, of the same shape."""
        # The range is centred on 0, which leaves the weighted mean as it is and half precision without an overflow.
        return torch.exp(LOGIT_RANGE * (torch.sigmoid(self.logit_norm(self.logit_conv(x))) - 0.5))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, C, H, W)`` to ``(N, C, H/2, W/2)``."""
        weight = self.importance(x)
        return F.avg_pool2d(x * weight, 3, 2, padding=1) / F.avg_pool2d(weight, 3, 2, padding=1)


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

    def apply_spectral_norm(self) -> None:
        """Divide the weights of the block's own convolutions by their largest singular value from now on."""
        for name, module in self.named_children():
            if name.startswith('conv_'):
                spectral_norm(module)

    def recomputing(self) -> tuple[AbstractContextManager, AbstractContextManager]:
        """Give the contexts of the two passes of gradient checkpointing; only the first one moves spectral norm."""
        return nullcontext(), self._frozen_spectral_norm()

    @contextmanager
    def _frozen_spectral_norm(self) -> Iterator[None]:
        parametrizations = [m.parametrizations for m in self.modules() if parametrize.is_parametrized(m)]
        for parametrization in parametrizations:
            parametrization.eval()
        yield
        for parametrization in parametrizations:
            parametrization.train()

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
    """Scale and shift normalised features pixel by pixel, as the guidance says (Park et al., equation 1).

    Unlike in the SPADE paper the scale is gamma, not 1 + gamma, and gamma and beta have no bias.
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
    """Leaky ReLU with the slope that the whole network uses."""
    return F.leaky_relu(x, 0.2, inplace)


def normalise(x: Tensor, norm: str, training: bool) -> Tensor:
    """Normalise ``x (N, C, H, W)`` channel by channel, without parameters.

    Outside training every picture is normalised by its own statistics, whatever ``norm`` gathered them from in
    training: that is what the reference's test script does, one picture at a time.
    """
    if norm == 'rms':
        # The reference hands its own "instance" norm the number of channels as epsilon. Its weights expect that.
        return x * torch.rsqrt(x.square().mean((2, 3), keepdim=True) + x.shape[1])
    if norm == 'instance' or not training:
        return F.instance_norm(x)
    if norm == 'syncbatch' and dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        mean, variance = _statistics_of_all_processes(x)
        return (x - mean) * torch.rsqrt(variance + 1e-5)
    return F.batch_norm(x, None, None, training=True)


def _statistics_of_all_processes(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance ``(1, C, 1, 1)`` over the batches of all processes, which hold equally many pictures.

    torch's SyncBatchNorm runs on GPUs only; this runs on every backend. Each process fills its own row of a table
    that is summed, so that one exchange is enough and no variance is taken as a difference of large numbers.
    """
    local = torch.stack([x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)])
    table = x.new_zeros(dist.get_world_size(), *local.shape)
    table[dist.get_rank()] = local
    means, variances = _SumOverProcesses.apply(table).unbind(1)
    mean = means.mean(0)
    variance = (variances + (means - mean).square()).mean(0)
    return mean.view(1, -1, 1, 1), variance.view(1, -1, 1, 1)


class _SumOverProcesses(torch.autograd.Function):
    """Sum a tensor over all processes; so is its gradient, because every process's loss depends on the sum."""

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


def init_weights(network: nn.Module) -> None:
    """Draw the weights of all convolutions from Xavier's normal distribution with gain 0.02; biases are zero."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.xavier_normal_(module.weight, gain=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def _check_choice(option: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f'{option}: {value!r} is not one of {", ".join(choices)} (network_g of the options file).')
