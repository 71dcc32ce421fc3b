"""The training objective: the losses of generator and discriminator, and their weights.

Source: Yang et al., arXiv 2005.05005, section 3.4.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any
from urllib.error import URLError

import numpy as np
import torch
from basicsr.losses import build_loss
from basicsr.losses.gan_loss import GANLoss
from torch import Tensor, nn

from hifacegan_plugin.images.channels import with_channels
from hifacegan_plugin.schema.problem import OptionError
from hifacegan_plugin.schema.training import Train, TypeAndArguments

Outputs = Tensor | list['Outputs']  # of a discriminator: one map, a map per scale, or all layers of each scale

# Losses of additional outputs of a generator, by name of the option: name of the loss, and its arguments.
BYPRODUCT_LOSSES = {
    'kl_opt': ('l_g_kl', ('mean', 'log_variance')),
    'warping_opt': ('l_g_warp', ('warped_guide', 'gt')),
    'flow_opt': ('l_g_flow', ('flow',)),
}


class Objective:
    """Computes the losses in the options under ``train``.

    Args:
        options: the options under ``train``: the losses, which are all optional, and ``loss_weight_schedule``.
        device: device of the losses.

    Attributes:
        is_adversarial: whether a discriminator is trained.
        takes_byproducts: whether a loss needs additional outputs of the generator.

    Raises:
        OptionError: a loss does not accept a value.
        FileNotFoundError: a loss needs weights that cannot be downloaded.
    """

    def __init__(self, options: Train, device: torch.device) -> None:
        self._schedule = options.loss_weight_schedule or {}
        build = partial(_build, options, device)
        self._pixel, self._perceptual = build('pixel_opt'), build('perceptual_opt')
        self._gan, self._feature_matching = build('gan_opt'), build('feature_matching_opt')
        self._byproducts = {name: loss for name in BYPRODUCT_LOSSES if (loss := build(name)) is not None}
        self.is_adversarial = self._gan is not None
        self.takes_byproducts = bool(self._byproducts)

    def compute(
        self,
        restored: Tensor,
        byproducts: Mapping[str, Tensor],
        lq: Tensor,
        gt: Tensor,
        net_d: nn.Module | None,
        iteration: int,
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the weighted losses of the generator and of the discriminator.

        The discriminator runs once for both. Differentiate the generator's losses only with respect to ``restored`` and
        ``byproducts``; otherwise they add gradients to the discriminator's weights.

        Args:
            restored: output of the generator, ``(N, C, H, W)``.
            byproducts: additional outputs of the generator by name; may be empty unless :attr:`takes_byproducts`.
            lq: input of the generator; with ``gan_opt``, of the same size.
            gt: ground truth, of the same size.
            net_d: the discriminator, if the objective is adversarial.
            iteration: number of the iteration, for ``loss_weight_schedule``.

        Raises:
            ValueError: the sizes of the images differ, or ``gan_opt`` or ``feature_matching_opt`` does not accept the
                outputs of the discriminator.
        """
        _check_sizes(restored, lq, gt, in_pairs=self.is_adversarial)
        losses_g: dict[str, dict[str, Tensor | None]] = {}
        losses_d: dict[str, Tensor] = {}
        if self._pixel:
            losses_g['pixel_opt'] = {'l_g_pix': self._pixel(restored, gt)}
        if self._perceptual:
            perceptual, style = self._perceptual(with_channels(restored, 3), with_channels(gt, 3))
            losses_g['perceptual_opt'] = {'l_g_percep': perceptual, 'l_g_style': style}
        for name, loss in self._byproducts.items():
            term, judged = BYPRODUCT_LOSSES[name]
            known = {**byproducts, 'gt': gt}
            losses_g[name] = {term: loss(*(known[part] for part in judged))}
        if self._gan and net_d:
            # Fake and real pairs in one batch, so that normalization layers use the same statistics for both.
            pairs = torch.cat([torch.cat([lq, restored], 1), torch.cat([lq, gt], 1)])
            fake, real = _halve(net_d(pairs))
            if isinstance(fake, list) and type(self._gan) is GANLoss:
                raise ValueError(
                    'train: gan_opt: GANLoss takes one map, but network_d returns several: use MultiScaleGANLoss.'
                )
            losses_g['gan_opt'] = {'l_g_gan': self._gan(fake, True, is_disc=False)}
            if self._feature_matching:
                losses_g['feature_matching_opt'] = {'l_g_feat': self._feature_matching(fake, real)}
            losses_d['l_d_real'] = self._gan(real, True, is_disc=True)
            losses_d['l_d_fake'] = self._gan(fake, False, is_disc=True)
        return self._weighted(losses_g, iteration), losses_d

    def _weighted(self, losses: dict[str, dict[str, Tensor | None]], iteration: int) -> dict[str, Tensor]:
        """Apply ``loss_weight_schedule`` to the terms of each loss, and drop terms that are None."""
        factors = {name: float(np.interp(iteration, *np.transpose(points))) for name, points in self._schedule.items()}
        return {
            term: factors.get(name, 1) * value
            for name, terms in losses.items()
            for term, value in terms.items()
            if value is not None
        }


def _check_sizes(restored: Tensor, lq: Tensor, gt: Tensor, in_pairs: bool) -> None:
    """Raise ValueError if restored images and ground truth or, ``in_pairs``, degraded images differ in size."""
    size, size_of_lq, size_of_gt = (' x '.join(map(str, images.shape[-2:])) for images in (restored, lq, gt))
    if size != size_of_gt:
        raise ValueError(
            f'scale: network_g returns images of {size} pixels for {size_of_lq}, and the ground truth has '
            f'{size_of_gt}: set scale to how many times it enlarges them (CSRGenerator: 1).'
        )
    if in_pairs and size != size_of_lq:
        raise ValueError(
            f'train: gan_opt: network_d needs restored images ({size} pixels) and degraded images ({size_of_lq}) of '
            'the same size: remove gan_opt, or use a network_g that keeps the size, with scale: 1.'
        )


def _build(train: Train, device: torch.device, name: str) -> nn.Module | None:
    """Build the loss ``train: <name>``; return None if it is absent."""
    described: TypeAndArguments | None = getattr(train, name)
    if described is None:
        return None
    options: dict[str, Any] = described.model_dump()
    try:
        return build_loss(options).to(device)
    except (TypeError, ValueError, NotImplementedError) as error:  # losses raise them for invalid arguments
        raise OptionError(f'train: {name}: {error}') from error
    except URLError as error:
        raise FileNotFoundError(
            f'train: {name}: {options["type"]} needs the ImageNet weights of '
            f'{options.get("vgg_type", "its network")}, which cannot be downloaded ({error.reason}). Put '
            f'vgg19-dcbb9e9d.pth (download.pytorch.org/models) into {torch.hub.get_dir()}/checkpoints, or remove '
            f'{name} from the options file.'
        ) from error


def _halve(outputs: Outputs) -> tuple[Outputs, Outputs]:
    """Split a discriminator's outputs for a batch into those of the fake and those of the real pairs."""
    if isinstance(outputs, Tensor):
        fake, real = outputs.float().chunk(2)
        return fake, real
    halves = [_halve(part) for part in outputs]
    return [fake for fake, _ in halves], [real for _, real in halves]
