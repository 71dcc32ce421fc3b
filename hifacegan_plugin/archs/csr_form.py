"""The two forms that the CSR network takes: the paper's, and one for small budgets."""

from __future__ import annotations

from typing import NamedTuple


class Form(NamedTuple):
    """Widths, in units of ``num_feat``, and halvings of the picture along the network."""

    level_widths: tuple[int, ...]  # of the suppression pyramid, fine to coarse
    block_widths: tuple[int, ...]  # of the replenishment blocks, coarse to fine
    block_levels: tuple[int, ...]  # the level of the pyramid that steers each block


FORMS = {
    'paper': Form(  # figure 2 of the paper
        level_widths=(1, 2, 4, 8, 16, 16), block_widths=(16, 16, 16, 8, 4, 2, 1), block_levels=(5, 4, 4, 3, 2, 1, 0)
    ),
    'fast': Form(level_widths=(2, 3, 4), block_widths=(4, 3, 2), block_levels=(2, 1, 0)),
}

DOWNSCALE = 32  # of the paper's deepest level; heights and widths are padded to a multiple of it
MIN_SIZE = 64  # below it the paper's deepest level is a single pixel, which has no statistics
