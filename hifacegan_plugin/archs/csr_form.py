"""The two forms that the CSR network takes: the paper's, and one for small budgets."""

from __future__ import annotations

from typing import NamedTuple


class Form(NamedTuple):
    """Widths, in units of ``num_feat``, and halvings of the picture along the network."""

    level_widths: tuple[int, ...]  # of the suppression pyramid, fine to coarse
    block_widths: tuple[int, ...]  # of the replenishment blocks, coarse to fine
    block_levels: tuple[int, ...]  # the level of the pyramid that steers each block


PAPER_FORM = Form(  # figure 2 of the paper
    level_widths=(1, 2, 4, 8, 16, 16), block_widths=(16, 16, 16, 8, 4, 2, 1), block_levels=(5, 4, 4, 3, 2, 1, 0)
)
FAST_SCALES = (3, 4, 5, 6)  # what ``num_scales`` may be; at 6 the deepest level is as small as the paper's


def fast_form(num_scales: int) -> Form:
    """Return the form of ``preset: fast``: a level and a block for each scale, wider at each halving."""
    levels = range(num_scales)
    widths = [2 + level for level in levels]
    return Form(tuple(widths), tuple(reversed(widths)), tuple(reversed(levels)))


def fast_reach(num_scales: int) -> int:
    """Return beyond how many pixels no part of an image matters to another in ``preset: fast``.

    The sum, over the layers from input to output, of how far each looks (in pixels of the full size): 3 for the head,
    4 * 2^i for the pooling and the convolution after level i, 2^i for the upsampling to it, 4 * 2^i for its two
    residual pairs, and 1 for the output.
    """
    deepest = 2 ** (num_scales - 1)
    return 3 + 4 * (deepest - 1) + (deepest - 1) + 4 * (2 * deepest - 1) + 1


DOWNSCALE = 32  # of the paper's deepest level; heights and widths are padded to a multiple of it
MIN_SIZE = 64  # below it the paper's deepest level is a single pixel, which has no statistics
