"""The generator of HiFaceGAN: nested collaborative suppression and replenishment (CSR).

A picture runs down a *suppression pyramid*, which strips the degradation scale by scale and leaves semantic guidance;
then *replenishment blocks* paint detail back from coarse to fine, each steered by the guidance of its own scale.

Source: Yang et al., "HiFaceGAN: Face Renovation via Collaborative Suppression and Replenishment", ACM MM 2020
(arXiv 2005.05005), section 3. The two baselines of its ablation are variants of the same class.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from hifacegan_plugin.archs.csr_form import DOWNSCALE, FAST_SCALES, MIN_SIZE, PAPER_FORM, fast_form
from hifacegan_plugin.archs.fast_csr import BorderConv2d, FastPyramid, FastReplenishmentBlock, starting_at_zero
from hifacegan_plugin.archs.published_layouts import (
    MARKERS,
    describe_mismatch,
    read_untraced_options,
    to_plugin_layout,
    without_markers,
)
from hifacegan_plugin.archs.replenishment import NORMS, ReplenishmentBlock, activation
from hifacegan_plugin.archs.suppression import SuppressionPyramid

logger = logging.getLogger('basicsr.hifacegan_plugin')

VARIANTS = ('csr', 'lip_spade', 'spade')
INITS = ('xavier', 'reference')
PRESETS = ('paper', 'fast')


class CSRGenerator(nn.Module):
    """Restores a picture without being told what is wrong with it.

    In ``train()`` mode the normalisation inside the replenishment blocks follows ``norm``; in ``eval()`` mode each
    picture is normalised by its own statistics and spectral norm is frozen, so that the result is deterministic and
    never depends on the neighbours in the batch.

    Args:
        num_in_ch: channels of the picture, in and out.
        num_feat: base width (paper: 64; 48 fits cards with 12 GB; 16 suits ``preset: fast`` on a CPU).
        variant: ``csr`` is the paper's network. ``lip_spade`` steers every block by the picture and starts from the
            last suppression level (the published checkpoints, BasicSR's ``HiFaceGAN``). ``spade`` has no pyramid at
            all (Park et al., CVPR 2019).
        norm: ``batch``, ``syncbatch`` (statistics of all processes), ``instance`` or ``rms`` (x / sqrt(mean of x^2 over
            the picture + number of channels): what the reference computes under the name "instance").
        global_residual: predict a correction that is added to the input, instead of the picture itself. Beyond the
            paper; decides at small budgets.
        preset: ``paper``, or ``fast``: the form for small budgets (see :mod:`hifacegan_plugin.archs.fast_csr`). It has
            no normalisation and no variants, and always predicts a correction.
        num_scales: of ``preset: fast``, 3 to 6: how often it looks at the image at half the size of the time before.
            More scales see further, for blur and blocks that are wide; they add few operations but many parameters.
        init: initial weights of the convolutions with spectral normalisation: ``xavier`` (normal, gain 0.02), as all
            others have, or ``reference``: PyTorch's default, 25 to 29 times larger, which the reference implementation
            leaves in them on a GPU. Spectral normalisation divides the scale away; what differs is how far a step of
            the optimizer turns them.

    Raises:
        ValueError: for an unknown ``variant``, ``norm``, ``preset`` or ``init``, and for options that ``fast`` does
            not have.
    """

    def __init__(
        self,
        num_in_ch: int = 3,
        num_feat: int = 64,
        variant: str = 'csr',
        norm: str = 'batch',
        global_residual: bool = False,
        preset: str = 'paper',
        init: str = 'xavier',
        num_scales: int = FAST_SCALES[0],
    ) -> None:
        super().__init__()
        _check_choice('variant', variant, VARIANTS)
        _check_choice('norm', norm, NORMS)
        _check_choice('preset', preset, PRESETS)
        _check_choice('init', init, INITS)
        _check_choice('num_scales', num_scales, FAST_SCALES)
        if preset == 'fast' and (variant, norm, init) != ('csr', 'batch', 'xavier'):
            raise ValueError(
                'network_g: preset: fast has no variants and no normalisation, and one initialisation: '
                'take variant, norm and init out.'
            )
        if preset == 'paper' and num_scales != FAST_SCALES[0]:
            raise ValueError('network_g: num_scales is for preset: fast: set preset, or take num_scales out.')
        self.num_in_ch = num_in_ch
        self.num_feat = num_feat
        self.variant = variant
        self.norm = norm
        self.global_residual = global_residual or preset == 'fast'
        self.preset = preset
        self.num_scales = num_scales
        self.form = fast_form(num_scales) if preset == 'fast' else PAPER_FORM
        self.gradient_checkpointing = False  # in training, compute the insides of the blocks twice to save memory
        self.init = init
        self.halvings = 0  # of the size of the output; more than 0 in the coarse phases of progressive training

        build = {'paper': self._build_paper_form, 'fast': self._build_fast_form}[preset]
        build(*([width * num_feat for width in widths] for widths in self.form[:2]))

    def _build_paper_form(self, level_widths: list[int], block_widths: list[int]) -> None:
        if self.variant != 'spade':
            self.suppression = SuppressionPyramid(self.num_in_ch, level_widths)
        if self.variant != 'lip_spade':
            self.start = nn.Conv2d(self.num_in_ch, block_widths[0], 3, padding=1)
        self.blocks = nn.ModuleList()
        for fin, fout, level in zip([block_widths[0], *block_widths], block_widths, self.form.block_levels):
            guidance = level_widths[level] if self.variant == 'csr' else self.num_in_ch
            self.blocks.append(ReplenishmentBlock(fin, fout, guidance, self.norm))
        self.to_picture = nn.Conv2d(block_widths[-1], self.num_in_ch, 3, padding=1)
        own_convs = [conv for block in self.blocks for conv in block.own_convs]
        init_weights(self, as_built=own_convs if self.init == 'reference' else ())
        # Spectral norm comes last, because it estimates the norm of the weights that it finds.
        for block in self.blocks:
            block.apply_spectral_norm()

    def _build_fast_form(self, level_widths: list[int], block_widths: list[int]) -> None:
        self.suppression = FastPyramid(self.num_in_ch, level_widths)
        self.start = BorderConv2d(self.num_in_ch, block_widths[0])
        self.blocks = nn.ModuleList(
            FastReplenishmentBlock(fin, fout, level_widths[level])
            for fin, fout, level in zip([block_widths[0], *block_widths], block_widths, self.form.block_levels)
        )
        self.to_picture = starting_at_zero(BorderConv2d(block_widths[-1], self.num_in_ch))

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
            The start, at the size of the coarsest block (paper: ``(N, 16 nf, H/32, W/32)``), and the guidance of each
            block, coarse to fine.
        """
        if self.preset == 'fast':  # on a CPU, a fifth less time than in the layout that pictures come in
            x = x.contiguous(memory_format=torch.channels_last)
        levels = [] if self.variant == 'spade' else self.suppression(x)
        if self.variant == 'lip_spade':
            start = levels[-1]
        else:
            stride = 2 ** self.form.block_levels[0]
            start = self.start(x[..., ::stride, ::stride])
        if self.variant == 'csr':
            return start, [levels[level] for level in self.form.block_levels]
        return start, [x] * len(self.blocks)

    def replenish(self, start: Tensor, guidance: list[Tensor]) -> Tensor:
        """Paint detail back, coarse to fine.

        Args:
            start: as :meth:`suppress` gives it.
            guidance: a tensor for each block, as :meth:`suppress` gives them; mixing those of two pictures shows what
                each unit contributes (paper, figure 7).

        Returns:
            Pictures ``(N, num_in_ch, H / 2^halvings, W / 2^halvings)`` in (-1, 1).
        """
        x, level = start, self.form.block_levels[0]
        for block, block_level, block_guidance in zip(self.blocks, self.form.block_levels, guidance):
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
        widths_and_levels = zip(self.form.block_widths, self.form.block_levels)
        widths = [width * self.num_feat for width, level in widths_and_levels if 0 < level < 4]
        self.coarse_outputs = nn.ModuleList(nn.Conv2d(width, self.num_in_ch, 3, padding=1) for width in widths)
        init_weights(self.coarse_outputs)

    def load_state_dict(self, state_dict: Mapping[str, Tensor], strict: bool = True, assign: bool = False):  # noqa: ANN201
        """Load weights in this plugin's layout, the reference implementation's or BasicSR's, unconverted.

        Weights that tell of a network with another ``norm`` or ``global_residual`` load, with a warning.

        Raises:
            RuntimeError: with ``strict``, if keys are missing, left over or misshapen; names them and the options
                that the weights were likely made with.
        """
        theirs = read_untraced_options(state_dict)
        state_dict = to_plugin_layout(state_dict, self.state_dict())
        if strict and (problem := describe_mismatch(state_dict, self)):
            raise RuntimeError(problem)
        for option in ('norm', 'global_residual'):  # the phase of progressive training follows the iteration
            if option in theirs and getattr(self, option) != theirs[option]:
                logger.warning(
                    f'These weights are of a network with {option}: {theirs[option]}, not {getattr(self, option)}: '
                    'set it under network_g of the options file, unless you mean to train them anew.'
                )
        return super().load_state_dict(without_markers(state_dict), strict, assign)

    def _save_to_state_dict(self, destination: dict[str, Tensor], prefix: str, keep_vars: bool) -> None:
        """Mark, in every state dict, what leaves no trace in the weights."""
        super()._save_to_state_dict(destination, prefix, keep_vars)
        for key, (option, value) in MARKERS.items():
            if getattr(self, option) == value:
                destination[prefix + key] = torch.ones(1)


def init_weights(network: nn.Module, as_built: Collection[nn.Conv2d] = ()) -> None:
    """Draw the weights of convolutions from Xavier's normal distribution with gain 0.02; biases are zero.

    Args:
        network: the network whose convolutions are initialised.
        as_built: convolutions whose weights stay as PyTorch draws them by default.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            if module not in as_built:
                nn.init.xavier_normal_(module.weight, gain=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def _check_choice(option: str, value: str | int, choices: tuple[str | int, ...]) -> None:
    if value not in choices:
        named = ', '.join(map(str, choices))
        raise ValueError(f'{option}: {value!r} is not one of {named} (network_g of the options file).')
