"""The options of several commands that say of a network what its weights may not tell."""

from __future__ import annotations

import argparse
from typing import Any

from hifacegan_plugin.archs.replenishment import NORMS


def add_untraced_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        '--norm', choices=NORMS, help='what the network was trained with (default: what the file says or shows)'
    )
    parser.add_argument(
        '--global-residual', action='store_true', default=None, help='the network predicts a correction (see --norm)'
    )


def given_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the options that were given, as :func:`hifacegan_plugin.weights.load_generator` takes them."""
    options = {'norm': arguments.norm, 'global_residual': arguments.global_residual}
    return {name: value for name, value in options.items() if value is not None}
