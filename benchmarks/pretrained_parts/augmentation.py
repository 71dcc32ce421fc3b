"""Vary clean crops on their device, so that a network trained on few images does not learn them by heart."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pretrained_parts.batch_degradations import colour_jitter, colour_shift, in_groups, in_order, rounded, sometimes

ZOOM = (0.85, 1.2)
TURN = (-15.0, 15.0)  # degrees
BEND = 3.0  # standard deviation of the displacement, in pixels
MARGIN = 1.5  # side of the crops to draw, divided by that of the result: enough for ZOOM and TURN

recolour = in_groups(
    in_order(sometimes(0.6, colour_jitter((0.8, 1.2), (0.8, 1.2), (0.6, 1.4))), sometimes(0.6, colour_shift((-8, 8))))
)


def augment(images: Tensor, side: int, rng: np.random.Generator) -> Tensor:
    """Warp and recolour ``(N, 3, S, S)`` with ``S`` at least ``MARGIN * side``.

    Returns:
        Whole grey levels, float32 ``(N, 3, side, side)`` in [0, 255].
    """
    return recolour(rounded(warp(images, side, ZOOM, TURN, BEND)), rng)


def warp(images: Tensor, side: int, zoom: tuple[float, float], turn: tuple[float, float], bend: float) -> Tensor:
    """Cut the centre out of square images ``(N, C, S, S)``, each zoomed, turned and bent at random.

    Args:
        images: any values.
        side: side of the result, in pixels.
        zoom: limits of the magnification, drawn uniformly.
        turn: limits of the counterclockwise rotation, in degrees, drawn uniformly.
        bend: standard deviation of a smooth displacement field, in pixels of ``images``.

    Returns:
        ``(N, C, side, side)``, sampled bicubically; borders are mirrored.
    """
    count, _, whole, _ = images.shape
    scale = side / whole / images.new_empty(count).uniform_(*zoom)
    angle = images.new_empty(count).uniform_(*turn) * (math.pi / 180)
    along, across = scale * angle.cos(), scale * angle.sin()
    centre = torch.zeros_like(scale)
    matrix = torch.stack([along, -across, centre, across, along, centre], 1).view(count, 2, 3)
    grid = F.affine_grid(matrix, [count, 1, side, side], align_corners=False)
    field = F.interpolate(torch.randn(count, 2, 5, 5, device=images.device), (side, side), mode='bicubic')
    grid = grid + field.permute(0, 2, 3, 1) * (2 * bend / whole)
    return F.grid_sample(images, grid, 'bicubic', 'reflection', align_corners=False)
