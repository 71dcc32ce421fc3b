"""Options for properties of a network that its weights file may not state."""

from __future__ import annotations

import argparse
from typing import Any

from hifacegan_plugin.archs.csr.replenishment import NORMS


def add_network_options(parser: argparse._ActionsContainer) -> None:
    """Declare the options, in a parser or in a group of one."""
    parser.add_argument(
        '--norm', choices=NORMS,
        help='normalisation that the network was trained with (default: read off the weights file)',
    )  # fmt: skip
    parser.add_argument(
        '--global-residual', action='store_true', default=None,
        help='the network predicts a correction of its input (default: read off the weights file)',
    )  # fmt: skip


def given_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what was given of them, as :func:`hifacegan_plugin.weights.load_generator` takes them."""
    return {'norm': arguments.norm, 'global_residual': arguments.global_residual}
