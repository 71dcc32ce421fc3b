"""3x3 convolution with a quarter of the multiplications, on a CPU, from matrix products alone.

Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016, section 4.3: F(4x4, 3x3).
Output tiles of 4x4 pixels come from input tiles of 6x6, which overlap by two pixels; in the transformed domain the
convolution is 36 products of matrices (tiles x fin) (fin x fout). The transforms are products with small constant
matrices, along one axis at a time.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hifacegan_plugin.archs.csr_arch import BLOCK_LEVELS
from hifacegan_plugin.archs.folded_csr import FoldedCSR, RowConv2d, Strip

TILE = 4  # pixels along a side of an output tile
PATCH = 6  # and of the input tile that it is computed from

COARSEST_LEVEL = 3  # of the network where it pays: an eighth of the size of the picture

# Appendix of the paper: B^T, G and A^T for the interpolation points 0, 1, -1, 2, -2 and infinity.
INPUT_TRANSFORM = torch.tensor(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ],
    dtype=torch.float32,
)
WEIGHT_TRANSFORM = (
    torch.tensor([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]], dtype=torch.float64) / 24
)
OUTPUT_TRANSFORM = torch.tensor(
    [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]], dtype=torch.float32
)


def transform_weight(weight: Tensor) -> Tensor:
    """Map convolution weights ``(fout, fin, 3, 3)`` to the 36 matrices ``(6, 6, fin, fout)``."""
    transformed = torch.einsum('ai,bj,ocij->abco', WEIGHT_TRANSFORM, WEIGHT_TRANSFORM, weight.double())
    return transformed.to(weight.dtype).contiguous()


def convolve(x: Tensor, transformed: Tensor, top: int = 1, bottom: int = 1) -> Tensor:
    """Convolve with zero padding: one column on either side, ``top`` and ``bottom`` rows above and below.

    Args:
        x: ``(N, fin, H, W)``, float32; fastest in channels-last memory.
        transformed: weights from :func:`transform_weight`.
        top: rows of zeros above.
        bottom: rows of zeros below.

    Returns:
        ``(N, fout, H + top + bottom - 2, W)``, in channels-last order, rows not necessarily adjacent.
    """
    height, width = x.shape[2] + top + bottom - 2, x.shape[3]
    # One more tile than fits into a row, so that all tiles of the picture lie at one distance in memory.
    rows, columns = -(-height // TILE), -(-width // TILE) + 1
    padding = (1, columns * TILE - width - 1, top, rows * TILE + 2 - x.shape[2] - top)
    x = F.pad(x, padding).permute(0, 2, 3, 1).contiguous()
    y = x.new_empty(len(x), rows * TILE, columns * TILE, transformed.shape[3])
    for i, picture in enumerate(x):
        _convolve_padded(picture, transformed, y[i].view(rows, TILE, -1))
    return y[:, :height, :width].permute(0, 3, 1, 2)


def _convolve_padded(x: Tensor, transformed: Tensor, y: Tensor) -> None:
    """Map ``x (4 rows + 2, 4 columns, fin)`` to ``y (rows, 4, 4 columns * fout)``, whose last 4 columns are void."""
    rows, columns = len(y), x.shape[1] // TILE
    fin, fout = transformed.shape[2:]
    tiles = x.shape[0] * columns - 1  # the last tile of the last row would end beyond the picture
    patches = x.as_strided((tiles, PATCH, fin), (TILE * fin, fin, 1), x.storage_offset())
    across = x.new_empty(x.shape[0], columns * PATCH * fin)
    torch.bmm(INPUT_TRANSFORM.expand(tiles, -1, -1), patches, out=across.view(-1, PATCH, fin)[:tiles])

    domain = x.new_empty(PATCH, rows, columns * PATCH * fin)
    for row in range(rows):
        torch.mm(INPUT_TRANSFORM, across[TILE * row : TILE * row + PATCH], out=domain[:, row])

    # One row of the 6x6 matrices at a time, so that their products are still in the cache when they are transformed.
    product = x.new_empty(rows * columns, PATCH, fout)
    across = x.new_empty(PATCH, rows * columns, TILE, fout)
    back = OUTPUT_TRANSFORM.expand(rows * columns, -1, -1)
    for i in range(PATCH):
        points = domain[i].view(rows * columns, PATCH, fin)
        for j in range(PATCH):
            torch.mm(points[:, j], transformed[i, j], out=product[:, j])
        torch.bmm(back, product, out=across[i])

    across = across.view(PATCH, rows, -1)
    for row in range(rows):
        torch.mm(OUTPUT_TRANSFORM, across[:, row], out=y[row])


class WinogradConv2d(nn.Module):
    """Takes the place of a :class:`RowConv2d`."""

    def __init__(self, conv: RowConv2d) -> None:
        super().__init__()
        self.in_channels, self.out_channels = conv.in_channels, conv.out_channels
        self.bias = conv.bias
        self.register_buffer('transformed', transform_weight(conv.weight))

    def forward(self, x: Tensor, strip: Strip | None) -> Tensor:
        """Map the rows ``grow(strip, 1)`` of the input to the rows ``strip`` of the output."""
        top = strip is None or strip.start == 0
        bottom = strip is None or strip.stop == strip.height
        y = convolve(x, self.transformed, int(top), int(bottom))
        return y if self.bias is None else y.add_(self.bias.view(-1, 1, 1))


def use_winograd(network: FoldedCSR, min_weights: int = 128 * 192) -> None:
    """Replace the convolutions of ``network`` that gain by it.

    Left out are those of the coarsest scales, which see so few pixels that they take little time as they are, but hold
    most of the weights, of which the transform makes four times as many.

    Args:
        network: changed in place.
        min_weights: ``fin * fout`` below which the transforms cost more than they save. Measured.
    """
    blocks = [block for block, level in zip(network.blocks, BLOCK_LEVELS) if level <= COARSEST_LEVEL]
    for part in (*getattr(network, 'levels', [])[:COARSEST_LEVEL], *blocks):
        for name, module in part.named_children():
            if isinstance(module, RowConv2d) and module.in_channels * module.out_channels >= min_weights:
                setattr(part, name, WinogradConv2d(module))
