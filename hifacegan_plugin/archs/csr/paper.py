"""The paper's network, nested collaborative suppression and replenishment, and the baselines of its ablation.

Source: Yang et al., "HiFaceGAN: Face Renovation via Collaborative Suppression and Replenishment", ACM MM 2020
(arXiv 2005.05005), section 3; the variant ``vae``: see :mod:`hifacegan_plugin.archs.csr.latent_code`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, cast, overload

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hifacegan_plugin.archs.arguments import check_choice
from hifacegan_plugin.archs.csr.latent_code import LATENT, START_SIDE, LatentCode, LatentEncoder, spread_code
from hifacegan_plugin.archs.csr.network import NAME, CSRNetwork
from hifacegan_plugin.archs.csr.replenishment import NORMS, ReplenishmentBlock, activation
from hifacegan_plugin.archs.csr.shapes import BLOCK_WIDTHS, LEVEL_WIDTHS
from hifacegan_plugin.archs.csr.suppression import SuppressionPyramid
from hifacegan_plugin.archs.initial_weights import INITS, init_weights
from hifacegan_plugin.archs.spectral_norm import apply_spectral_norm

VARIANTS = ('csr', 'lip_spade', 'spade', 'vae')
WITHOUT_PYRAMID = ('spade', 'vae')


class PaperCSR(CSRNetwork):
    """The paper's network; the arguments are those of :func:`~hifacegan_plugin.archs.CSRGenerator`.

    In ``train()`` mode, the normalisation inside the replenishment blocks follows ``norm``. In ``eval()`` mode, each
    image is normalised by its own statistics and spectral norm is frozen. The result is deterministic and does not
    depend on the other images in the batch.

    Raises:
        ValueError: for an unknown ``variant``, ``norm`` or ``init``.
    """

    preset = 'paper'
    smallest_side = 64  # its deepest level is 2 x 2 pixels; a single pixel would have no statistics
    block_levels = (5, 4, 4, 3, 2, 1, 0)
    reach = None

    suppression: SuppressionPyramid
    encoder: LatentEncoder
    start: nn.Conv2d | nn.Linear
    blocks: Sequence[ReplenishmentBlock]
    coarse_outputs: nn.ModuleList

    def __init__(
        self,
        num_in_ch: int = 3,
        num_feat: int = 64,
        variant: str = 'csr',
        norm: str = 'batch',
        global_residual: bool = False,
        init: str = 'xavier',
    ) -> None:
        super().__init__()
        check_choice(NAME, 'variant', variant, VARIANTS)
        check_choice(NAME, 'norm', norm, NORMS)
        check_choice(NAME, 'init', init, INITS)
        self.num_in_ch = num_in_ch
        self.num_feat = num_feat
        self.variant = variant
        self.norm = norm
        self.global_residual = global_residual
        self.init = init
        self.halvings = 0  # of the output size; above 0 in the coarse phases of progressive training

        level_widths, block_widths = ([width * num_feat for width in widths] for widths in (LEVEL_WIDTHS, BLOCK_WIDTHS))
        if variant not in WITHOUT_PYRAMID:
            self.suppression = SuppressionPyramid(num_in_ch, level_widths)
        if variant == 'vae':
            self.encoder = LatentEncoder(num_in_ch, num_feat)
            self.start = nn.Linear(LATENT, block_widths[0] * START_SIDE**2)
        elif variant != 'lip_spade':
            self.start = nn.Conv2d(num_in_ch, block_widths[0], 3, padding=1)
        blocks = []
        for fin, fout, level in zip([block_widths[0], *block_widths], block_widths, self.block_levels):
            guidance = level_widths[level] if variant == 'csr' else num_in_ch
            blocks.append(ReplenishmentBlock(fin, fout, guidance, norm))
        self.blocks = cast('Sequence[ReplenishmentBlock]', nn.ModuleList(blocks))
        self.to_picture = nn.Conv2d(block_widths[-1], num_in_ch, 3, padding=1)
        own_convs = [conv for block in blocks for conv in block.own_convs]
        init_weights(self, init, own_convs)
        # Spectral norm comes last, because it estimates the norm of the weights that it finds.
        for conv in own_convs:
            apply_spectral_norm(conv)

    @property
    def options(self) -> dict[str, Any]:
        """Return the options of ``CSRGenerator`` that build a network of this shape."""
        names = ('num_in_ch', 'num_feat', 'variant', 'norm', 'global_residual', 'preset')
        return {name: getattr(self, name) for name in names}

    @property
    def byproducts(self) -> tuple[str, ...]:
        """Return the names of the additional outputs of :meth:`forward`."""
        return LatentCode._fields if self.variant == 'vae' else ()

    @overload
    def forward(self, x: Tensor) -> Tensor: ...

    @overload
    def forward(self, x: Tensor, with_byproducts: Literal[True]) -> tuple[Tensor, dict[str, Tensor]]: ...

    def forward(self, x: Tensor, with_byproducts: bool = False) -> Tensor | tuple[Tensor, dict[str, Tensor]]:
        """Restore ``x``; see :meth:`CSRNetwork.forward`.

        In the coarse phases of progressive training, the returned images are ``2^halvings`` times smaller in
        ``train()`` mode, and enlarged back to the full size in ``eval()`` mode.

        Args:
            x: degraded images.
            with_byproducts: also return the additional outputs for losses: for ``vae``, ``mean`` and
                ``log_variance`` of the latent code, each ``(N, 256)``; for the other variants, an empty dictionary.
        """
        height, width = x.shape[-2:]
        x = self.pad(x)
        code = self.encoder(x) if self.variant == 'vae' else None
        image = self.replenish(*self.suppress(x, code))
        if self.global_residual:
            image = image + F.avg_pool2d(x, 2**self.halvings)
        halvings = self.halvings
        if halvings and not self.training:
            image, halvings = F.interpolate(image, size=x.shape[-2:], mode='bilinear'), 0
        image = image[..., : -(-height >> halvings), : -(-width >> halvings)]
        if not with_byproducts:
            return image
        return image, code._asdict() if code else {}

    def suppress(self, x: Tensor, code: LatentCode | None = None) -> tuple[Tensor, list[Tensor]]:
        """Return the start ``(N, 16 num_feat, H/32, W/32)`` and the guidance of the seven units, coarse to fine.

        Args:
            x: images, H and W multiples of 32.
            code: for ``vae``, the latent code of ``x``; by default, ``x`` is encoded.
        """
        levels = [] if self.variant in WITHOUT_PYRAMID else self.suppression(x)
        if self.variant == 'vae':
            drawn = (code or self.encoder(x)).draw(self.training)
            start = spread_code(self.start(drawn), x.shape[-2] // self.multiple, x.shape[-1] // self.multiple)
        elif self.variant == 'lip_spade':
            start = levels[-1]
        else:
            start = self.start(x[..., :: self.multiple, :: self.multiple])
        if self.variant == 'csr':
            return start, [levels[level] for level in self.block_levels]
        return start, [x] * len(self.blocks)

    def replenish(self, start: Tensor, guidance: list[Tensor]) -> Tensor:
        """Add detail back: images ``(N, num_in_ch, H / 2^halvings, W / 2^halvings)``; see the base class."""
        x = self.refine(start, guidance, finest=self.halvings)
        return torch.tanh(self.output_at(self.halvings)(activation(x)))

    def output_at(self, halvings: int) -> nn.Module:
        """Return the convolution that makes an image ``2^halvings`` times smaller than the input."""
        return self.coarse_outputs[-halvings] if halvings else self.to_picture

    def add_coarse_outputs(self) -> None:
        """Add the outputs at an eighth, a quarter and half of the size, for the phases of progressive training."""
        widths = [width * self.num_feat for width, level in zip(BLOCK_WIDTHS, self.block_levels) if 0 < level < 4]
        self.coarse_outputs = nn.ModuleList(nn.Conv2d(width, self.num_in_ch, 3, padding=1) for width in widths)
        init_weights(self.coarse_outputs, self.init)
