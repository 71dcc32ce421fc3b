"""The paper's network, rewritten for inference: the same images with fewer operations and less memory.

With fixed weights and per-image statistics, these changes are exact:

* spectral norm is folded into the weights;
* the shortcut's 1x1 convolution is composed into its beta: ``conv_s(n * gamma + beta(h)) = conv_s(n * gamma) +
  (conv_s o beta)(h)``, which is as wide as the output of the block, not as its input;
* nearest upsampling changes neither mean nor variance, so features are normalised before they are upsampled;
* biases that a following instance norm removes are dropped.

Distant rows depend on each other only through statistics over the whole image. Layers between two such statistics are
computed in strips of rows; see :mod:`hifacegan_plugin.archs.folded.strips`.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hifacegan_plugin.archs.csr.latent_code import spread_code
from hifacegan_plugin.archs.csr.paper import WITHOUT_PYRAMID, PaperCSR
from hifacegan_plugin.archs.csr.replenishment import activation
from hifacegan_plugin.archs.folded.blocks import FoldedBlock, FoldedSuppression
from hifacegan_plugin.archs.folded.strips import (
    RowConv2d,
    Rows,
    Statistics,
    Strip,
    Walk,
    grow,
    keep,
    normalise,
    stored,
    upsampled,
)

BLOCK_LEVELS = PaperCSR.block_levels
COARSEST = 2 ** BLOCK_LEVELS[0]  # pixels of the image for one pixel of the coarsest level
FRUGAL_LEVELS = (0, 1)  # the finest scales; a frugal walk recomputes their feature maps instead of storing them


class FoldedCSR(nn.Module):
    """Return the images that a :class:`PaperCSR` in eval() mode returns.

    Args:
        generator: the network to fold; its weights are copied.
    """

    def __init__(self, generator: PaperCSR) -> None:
        super().__init__()
        generator = deepcopy(generator).eval()  # freezes spectral norm
        self.variant = generator.variant
        self.norm = generator.norm
        self.global_residual = generator.global_residual
        if self.variant not in WITHOUT_PYRAMID:
            self.head = RowConv2d(generator.suppression.head.weight)
            levels = [FoldedSuppression(module) for module in generator.suppression.levels]
            self.levels = cast('Sequence[FoldedSuppression]', nn.ModuleList(levels))
        if self.variant == 'vae':
            self.encoder = generator.encoder
            self.start_of_code = generator.start
        elif self.variant != 'lip_spade':
            self.start = RowConv2d(generator.start.weight, generator.start.bias)
        blocks = [FoldedBlock(block) for block in generator.blocks]
        self.blocks = cast('Sequence[FoldedBlock]', nn.ModuleList(blocks))
        self.to_picture = RowConv2d(generator.to_picture.weight, generator.to_picture.bias)
        self.to(memory_format=torch.channels_last)

    def compute_in(self, dtype: torch.dtype) -> FoldedCSR:
        """Compute in ``dtype`` from now on, except for the first convolution and the latent code of ``vae``.

        These stay in float32, because the instance norm after the first convolution amplifies rounding errors in images
        with little contrast. With all of it in bfloat16, the error of the whole network is four times as large.
        """
        self.to(dtype)
        if self.variant not in WITHOUT_PYRAMID:
            self.head.float()
        if self.variant == 'vae':
            self.encoder.float()
            self.start_of_code.float()
        return self

    @property
    def dtype(self) -> torch.dtype:
        """The type in which all layers but the first convolution compute."""
        return self.to_picture.weight.dtype

    def forward(self, x: Tensor, walk: Walk | None = None) -> Tensor:
        """Restore ``x (N, num_in_ch, H, W)``, float32 RGB in [0, 1], H and W from 64 up; see :class:`PaperCSR`."""
        walk = walk or Walk()
        height, width = x.shape[-2:]
        x = pad(pad(x, 2, COARSEST), 3, COARSEST)
        x = x.contiguous(memory_format=torch.channels_last)
        out = self.replenish(*self.suppress(x, walk), walk)
        if self.global_residual:
            out = out + x
        return out[..., :height, :width].to(x.dtype)

    def suppress(self, x: Tensor, walk: Walk) -> tuple[Tensor, list[Rows]]:
        """Return the start ``(N, 16 nf, H/32, W/32)`` of the replenishment and guidance from fine to coarse."""
        if self.variant not in WITHOUT_PYRAMID:
            levels = self.pyramid(x, walk)
        if self.variant == 'lip_spade':
            start = levels[-1](None)
        elif self.variant == 'vae':
            height, width = x.shape[2] // COARSEST, x.shape[3] // COARSEST
            start = spread_code(self.start_of_code(self.encoder(x).mean), height, width).to(self.dtype)
        else:
            start = self.start(x[:, :, ::COARSEST, ::COARSEST].to(self.dtype), None)
        if self.variant != 'csr':
            images = x.to(self.dtype)
            levels = [stored(images[:, :, :: 2**level, :: 2**level]) for level in range(BLOCK_LEVELS[0] + 1)]
        return start, levels

    def pyramid(self, x: Tensor, walk: Walk) -> list[Rows]:
        """Return the six levels of the suppression pyramid, fine to coarse."""
        height, width = x.shape[-2:]
        image, levels = stored(x), []
        rows: Rows = lambda strip: self.head(image(grow(strip, 1)), strip)  # noqa: E731
        for level, module in enumerate([*self.levels, None]):
            channels = module.logit_conv.in_channels if module else self.levels[-1].conv.out_channels
            strips = walk.strips(height >> level, len(x) * (width >> level) * channels * 2)
            store = not (walk.frugal and level in FRUGAL_LEVELS)
            rows, statistics = walk.collect(rows, strips, 'instance', store)
            finished = self.finish(rows, statistics, rectify=module is not None)
            rows = keep(finished, strips) if store else finished
            levels.append(rows)
            if module:
                logit, statistics = walk.collect(module.logit(levels[-1]), strips, 'instance', store)
                rows = module.narrow(levels[-1], logit, statistics)
        return levels

    def finish(self, rows: Rows, statistics: Statistics, rectify: bool) -> Rows:
        """Return a normalised level of the pyramid, the guidance of the blocks."""
        normalised = normalise(rows, statistics)

        def compute(strip: Strip | None) -> Tensor:
            level = normalised(strip)
            return (F.relu_(level) if rectify else level).to(self.dtype)

        return compute

    def replenish(self, start: Tensor, guidance: list[Rows], walk: Walk) -> Tensor:
        """Add detail back, coarse to fine: images ``(N, num_in_ch, H, W)`` in (-1, 1). Empties ``guidance``."""
        level = BLOCK_LEVELS[0]
        height, width = start.shape[2] << level, start.shape[3] << level
        x, statistics = walk.collect(stored(start), [None], self.norm)
        for block, block_level in zip(self.blocks, BLOCK_LEVELS):
            normalised = normalise(x, statistics)
            if block_level < level:
                x, normalised = upsampled(x), upsampled(normalised)
                guidance.pop()
            level = block_level
            strips = walk.strips(height >> level, len(start) * (width >> level) * block.widest)
            store = not (walk.frugal and level in FRUGAL_LEVELS)
            middle, statistics = walk.collect(block.middle(normalised, guidance[-1]), strips, self.norm, store)
            x = block.outcome(x, normalised, normalise(middle, statistics), guidance[-1])
            if block is not self.blocks[-1]:
                x, statistics = walk.collect(x, strips, self.norm)
        image: Rows = lambda strip: torch.tanh(self.to_picture(activation(x(grow(strip, 1))), strip))  # noqa: E731
        return keep(image, strips)(None)


def pad(x: Tensor, axis: int, multiple: int) -> Tensor:
    """Pad an axis to a multiple like :meth:`CSRNetwork.pad`, for sizes that are dynamic in an exported graph.

    It gathers by index, because OpenVINO can gather in float32 but cannot pad in float32.
    """
    length = x.shape[axis]
    index = torch.arange(length + -length % multiple, device=x.device)
    mirrored = 2 * (length - 1) - index
    beyond = torch.where(mirrored[-1:] < 0, length - 1, mirrored)  # repeat the border if the reflection is too short
    return x.index_select(axis, torch.minimum(index, beyond))
