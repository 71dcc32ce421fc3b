"""The base class of the two networks of collaborative suppression and replenishment (CSR).

An image runs down a *suppression pyramid*, which strips the degradation scale by scale and leaves semantic guidance;
then *replenishment blocks*, the units, add detail back from coarse to fine, each steered by guidance.

Source: Yang et al., "HiFaceGAN: Face Renovation via Collaborative Suppression and Replenishment", ACM MM 2020
(arXiv 2005.05005), section 3.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from hifacegan_plugin.archs.csr.replenishment import activation
from hifacegan_plugin.archs.csr.shapes import read_generator_options
from hifacegan_plugin.archs.padding import pad_to_multiple
from hifacegan_plugin.archs.published_layouts import (
    MARKERS,
    describe_mismatch,
    read_untraced_options,
    to_plugin_layout,
    without_markers,
)
from hifacegan_plugin.archs.spectral_norm import contexts_of_checkpointing

logger = logging.getLogger('basicsr.hifacegan_plugin')

NAME = 'CSRGenerator'  # the registered name of all these networks


class CSRNetwork(nn.Module):
    """Restore images with an unknown degradation.

    A subclass builds the units in ``blocks`` and the output layer ``to_picture``, sets the attributes below, and
    implements the methods that raise ``NotImplementedError`` here.
    """

    preset: ClassVar[str]
    smallest_side: ClassVar[int]  # in pixels; smaller images are refused
    scale: ClassVar[int] = 1  # how many times larger the output is than the input
    block_levels: tuple[int, ...]  # for each unit, coarse to fine: how often the size of the image is halved
    global_residual: bool  # the network predicts a correction of its input

    num_in_ch: int
    num_feat: int
    blocks: Sequence[nn.Module]  # a module list; each maps features and their guidance to features
    to_picture: nn.Conv2d

    def __init__(self) -> None:
        super().__init__()
        self.gradient_checkpointing = False  # in training, recompute the activations of the blocks to save memory

    @property
    def multiple(self) -> int:
        """Return the number of which padded heights and widths are multiples: 2^(number of halvings)."""
        return 2 ** self.block_levels[0]

    @property
    def reach(self) -> int | None:
        """Return the radius of the receptive field in pixels; None if each result depends on the whole image."""
        raise NotImplementedError

    @property
    def options(self) -> dict[str, Any]:
        """Return the options of ``CSRGenerator`` that build a network of this shape."""
        raise NotImplementedError

    def suppress(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Strip the degradation: return the start of the replenishment and the guidance of its units.

        Args:
            x: images ``(N, num_in_ch, H, W)``, H and W multiples of :attr:`multiple`.

        Returns:
            The start, at the size of the coarsest unit, and the guidance of each unit, coarse to fine.
        """
        raise NotImplementedError

    def replenish(self, start: Tensor, guidance: list[Tensor]) -> Tensor:
        """Add detail back, coarse to fine.

        Args:
            start: as :meth:`suppress` returns it.
            guidance: a tensor for each unit, as :meth:`suppress` returns them. Mixing the guidance of two images shows
                what each unit contributes (paper, figure 7).

        Returns:
            Images ``(N, num_in_ch, H, W)`` in (-1, 1).
        """
        return torch.tanh(self.to_picture(activation(self.refine(start, guidance))))

    def refine(self, start: Tensor, guidance: list[Tensor], finest: int = 0) -> Tensor:
        """Run the units up to those of the level ``finest``, and return the features of the last one."""
        x, level = start, self.block_levels[0]
        for block, block_level, block_guidance in zip(self.blocks, self.block_levels, guidance, strict=True):
            if block_level < finest:
                break
            if block_level < level:
                x = F.interpolate(x, scale_factor=2, mode='nearest')
                level = block_level
            if self.gradient_checkpointing and self.training:
                contexts = partial(contexts_of_checkpointing, block)
                x = checkpoint(block, x, block_guidance, use_reentrant=False, context_fn=contexts)
            else:
                x = block(x, block_guidance)
        return x

    def forward(self, x: Tensor) -> Tensor:
        """Restore ``x``.

        Args:
            x: degraded images ``(N, num_in_ch, H, W)``, RGB in [0, 1]; any H and W from :attr:`smallest_side` up.

        Returns:
            Restored images of the same shape. They pass through tanh, so values lie in (-1, 1), and about in [0, 1]
            after training. With :attr:`global_residual`, the input is added.

        Raises:
            ValueError: if a side is shorter than :attr:`smallest_side`.
        """
        height, width = x.shape[-2:]
        x = self.pad(x)
        out = self.replenish(*self.suppress(x))
        if self.global_residual:
            out = out + x
        return out[..., :height, :width]

    def pad(self, x: Tensor) -> Tensor:
        """Pad images below and on the right to multiples of :attr:`multiple`.

        Raises:
            ValueError: if a side is shorter than :attr:`smallest_side`.
        """
        height, width = x.shape[-2:]
        if min(height, width) < self.smallest_side:
            raise ValueError(
                f'{NAME} takes images of at least {self.smallest_side} x {self.smallest_side} pixels, got {height} x '
                f'{width}: enlarge or pad them (in a data set: raise gt_size or set resize).'
            )
        return pad_to_multiple(x, self.multiple)

    def load_state_dict(self, state_dict: Mapping[str, Tensor], strict: bool = True, assign: bool = False) -> Any:
        """Load weights in this plugin's layout, the reference implementation's or BasicSR's, unconverted.

        Weights of a network with another ``norm`` or ``global_residual`` load with a warning, if the file tells.

        Raises:
            RuntimeError: with ``strict``, if keys are missing, unexpected or of the wrong shape; names them and the
                options that the weights were probably made with.
        """
        theirs = read_untraced_options(state_dict)
        state_dict = to_plugin_layout(state_dict, self.state_dict())
        if strict and (problem := describe_mismatch(NAME, state_dict, self.state_dict())):
            raise RuntimeError(problem + self._hint(state_dict))
        for option in ('norm', 'global_residual'):  # the phase of progressive training follows the iteration
            ours = self.options.get(option)
            if option in theirs and ours not in (None, theirs[option]):
                logger.warning(
                    f'These weights belong to a network with {option}: {theirs[option]}, not {ours}: set it under '
                    'network_g of the options file, unless you want to retrain them.'
                )
        return super().load_state_dict(without_markers(state_dict), strict, assign)

    def _hint(self, state_dict: Mapping[str, Tensor]) -> str:
        """Return a line that names the options with which the weights would fit; empty if there are none."""
        try:
            theirs = read_generator_options(state_dict)
        except ValueError:
            return ''
        theirs.pop('halvings', None)  # not an option, but a phase of the training
        differing = ', '.join(f'{key}: {value}' for key, value in theirs.items() if getattr(self, key, None) != value)
        return f'\n  They look like {differing}: set this under network_g of the options file.' if differing else ''

    def _save_to_state_dict(self, destination: dict[str, Tensor], prefix: str, keep_vars: bool) -> None:
        """Add markers to every state dict for options that do not show in the weights."""
        super()._save_to_state_dict(destination, prefix, keep_vars)
        for key, (option, value) in MARKERS.items():
            if getattr(self, option, None) == value:
                destination[prefix + key] = torch.ones(1)
