"""Compute feature maps strip by strip, so that the data of a strip fits into the cache of a processor.

A feature map is a function from a strip of rows to its values (:data:`Rows`). It may be stored, or be computed each
time it is read. There are no seams, because a strip is computed from all neighbouring rows that it depends on.
:class:`Walk` accumulates mean and variance, which are known only after all rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EPSILON = 1e-5  # of torch's instance norm
ALIGNMENT = 8  # strips begin at a multiple of this many rows


class Strip(NamedTuple):
    """Rows ``start`` to ``stop`` of a feature map that has ``height`` rows."""

    start: int
    stop: int
    height: int


# Returns a strip of a feature map ``(N, C, H, W)``; None stands for the whole map.
Rows = Callable[[Strip | None], Tensor]


def grow(strip: Strip | None, rows: int) -> Strip | None:
    """Extend a strip by the neighbouring rows that a convolution reads, up to the border."""
    if strip is None:
        return None
    return Strip(max(strip.start - rows, 0), min(strip.stop + rows, strip.height), strip.height)


def stored(x: Tensor) -> Rows:
    """Return the rows of a stored feature map."""
    return lambda strip: x if strip is None else x[:, :, strip.start : strip.stop]


def upsampled(rows: Rows) -> Rows:
    """Return the rows of a feature map of twice the size, by nearest neighbour."""

    def upsample(strip: Strip | None) -> Tensor:
        if strip is None:
            return F.interpolate(rows(None), scale_factor=2, mode='nearest')
        low = Strip(strip.start // 2, (strip.stop + 1) // 2, strip.height // 2)
        high = F.interpolate(rows(low), scale_factor=2, mode='nearest')
        return high[:, :, strip.start - 2 * low.start : strip.stop - 2 * low.start]

    return upsample


class Statistics(NamedTuple):
    """Scale and shift that normalise a feature map, ``x * scale + shift``, each ``(N, C, 1, 1)``."""

    scale: Tensor
    shift: Tensor

    @classmethod
    def of_parts(cls, parts: list[tuple[int, Tensor, Tensor]], norm: str) -> Statistics:
        """Join (number of rows, mean, variance) of the strips of a feature map."""
        height = sum(rows for rows, _, _ in parts)
        mean = cast('Tensor', sum(part_mean * (rows / height) for rows, part_mean, _ in parts))
        shifted = ((rows, part + (part_mean - mean).square()) for rows, part_mean, part in parts)
        variance = cast('Tensor', sum(part * (rows / height) for rows, part in shifted))
        if norm == 'rms':
            scale = torch.rsqrt(variance + mean.square() + mean.shape[1])
            return cls(scale, torch.zeros_like(scale))
        scale = torch.rsqrt(variance + EPSILON)
        return cls(scale, -mean * scale)


def normalise(rows: Rows, statistics: Statistics) -> Rows:
    """Return the rows with zero mean and unit variance per channel (norm ``rms``: with unit mean square)."""
    return lambda strip: rescale(rows(strip), *statistics)


def rescale(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Compute ``x * scale + shift`` in float32, whatever the type of ``x``."""
    return torch.addcmul(shift, x.float(), scale).to(x.dtype)


def moments(x: Tensor, strip: Strip | None) -> tuple[Tensor, Tensor]:
    """Return mean and variance of ``(N, C, H, W)`` over space, each ``(N, C, 1, 1)``."""
    x = x.float()
    if strip is None:
        mean = x.mean((2, 3), keepdim=True)
        return mean, (x - mean).square().mean((2, 3), keepdim=True)
    # Sums as matrix products: torch's own reductions over the rows of a channels-last tensor are ten times slower.
    pixels = x.permute(0, 2, 3, 1).flatten(1, 2)
    weights = pixels.new_full((1, pixels.shape[1]), 1 / pixels.shape[1])
    mean = weights @ pixels
    centred = pixels - mean
    rest = weights @ centred  # the rounding error of the mean
    variance = weights @ centred.square_() - rest.square()
    return (mean + rest).mT.unsqueeze(-1), variance.mT.unsqueeze(-1)


class Walk(NamedTuple):
    """How to go over an image.

    Args:
        strip_elements: size of the largest tensor of a strip; None: no strips, which graph exporters need.
        frugal: recompute the feature maps of the finest scales instead of storing them: about 1.5 times the work in a
            third of the memory.
    """

    strip_elements: int | None = None
    frugal: bool = False

    def strips(self, height: int, row_elements: int) -> list[Strip | None]:
        """Divide ``height`` rows into strips; ``row_elements`` is the size of the largest intermediate row."""
        if self.strip_elements is None:
            return [None]
        rows = max(self.strip_elements // row_elements // ALIGNMENT, 1) * ALIGNMENT
        return [Strip(start, min(start + rows, height), height) for start in range(0, height, rows)]

    def collect(self, rows: Rows, strips: list[Strip | None], norm: str, store: bool = True) -> tuple[Rows, Statistics]:
        """Compute a feature map and its statistics; store the map unless ``store`` is False."""
        parts = []

        def watched(strip: Strip | None) -> Tensor:
            part = rows(strip)
            parts.append((1 if strip is None else strip.stop - strip.start, *moments(part, strip)))
            return part

        if store:
            rows = keep(watched, strips)
        else:
            for strip in strips:
                watched(strip)
        return rows, Statistics.of_parts(parts, norm)


def keep(rows: Rows, strips: list[Strip | None]) -> Rows:
    """Compute a feature map and store it."""
    first = strips[0]
    part = rows(first)
    if first is None:
        return stored(part)
    shape = (part.shape[0], part.shape[1], first.height, part.shape[3])
    whole = stored(torch.empty(shape, dtype=part.dtype, device=part.device, memory_format=torch.channels_last))
    whole(first).copy_(part)
    for strip in strips[1:]:
        whole(strip).copy_(rows(strip))
    return whole


class RowConv2d(nn.Conv2d):
    """A 3x3 convolution for strips: pads with zeros at the borders of the image, not at those of the strip."""

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        fout, fin = weight.shape[:2]
        super().__init__(fin, fout, 3, padding=1, bias=bias is not None, device='meta')
        self.weight = nn.Parameter(weight.detach().clone(), requires_grad=False)
        if bias is not None:
            self.bias = nn.Parameter(bias.detach().clone(), requires_grad=False)

    def forward(self, x: Tensor, strip: Strip | None) -> Tensor:  # type: ignore[override]
        """Map the rows ``grow(strip, 1)`` of the input to the rows ``strip`` of the output."""
        if strip is None:
            return super().forward(x)
        top, bottom = strip.start == 0, strip.stop == strip.height
        if top != bottom:
            x = F.pad(x, (0, 0, int(top), int(bottom)))
        return F.conv2d(x, self.weight, self.bias, padding=(int(top and bottom), 1))
