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

from hifacegan_plugin.archs.folded_csr import RowConv2d, Strip

TILE = 4  # pixels along a side of an output tile
PATCH = 6  # and of the input tile that it is computed from

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
    y = torch.stack([_convolve_padded(picture, transformed, rows, columns) for picture in x])
    return y[:, :height, :width].permute(0, 3, 1, 2)


def _convolve_padded(x: Tensor, transformed: Tensor, rows: int, columns: int) -> Tensor:
    """Map ``(4 rows + 2, 4 columns, fin)`` to ``(4 rows, 4 columns, fout)``, of which the last 4 columns are void."""
    fin, fout = transformed.shape[2:]
    tiles = x.shape[0] * columns - 1  # the last tile of the last row would end beyond the picture
    patches = x.as_strided((tiles, PATCH, fin), (TILE * fin, fin, 1))
    across = x.new_empty(x.shape[0], columns * PATCH * fin)
    torch.bmm(INPUT_TRANSFORM.expand(tiles, -1, -1), patches, out=across.view(-1, PATCH, fin)[:tiles])

    domain = x.new_empty(PATCH, rows, columns * PATCH * fin)
    for row in range(rows):
        torch.mm(INPUT_TRANSFORM, across[TILE * row : TILE * row + PATCH], out=domain[:, row])
    domain = domain.view(PATCH, rows * columns, PATCH, fin)

    product = x.new_empty(PATCH, rows * columns, PATCH, fout)
    for i in range(PATCH):
        for j in range(PATCH):
            torch.mm(domain[i, :, j], transformed[i, j], out=product[i, :, j])

    product = product.view(-1, PATCH, fout)
    across = torch.bmm(OUTPUT_TRANSFORM.expand(len(product), -1, -1), product).view(PATCH, rows, columns * TILE * fout)
    y = x.new_empty(rows, TILE, columns * TILE * fout)
    for row in range(rows):
        torch.mm(OUTPUT_TRANSFORM, across[:, row], out=y[row])
    return y.view(rows * TILE, columns * TILE, fout)


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


def use_winograd(network: nn.Module, min_width: int = 96, max_weights: int = 1 << 20) -> None:
    """Replace the convolutions of ``network`` that gain by it.

    Args:
        network: a folded network; changed in place.
        min_width: narrower convolutions spend more on the transforms than they save.
        max_weights: of one convolution; larger ones see too few pixels for what reading their weights costs, which
            are four times as many when transformed.
    """
    for name, module in network.named_children():
        if not isinstance(module, RowConv2d):
            use_winograd(module, min_width, max_weights)
        elif min(module.weight.shape[:2]) >= min_width and module.weight[..., 0, 0].numel() <= max_weights:
            setattr(network, name, WinogradConv2d(module))
