"""Types of command-line arguments."""

from __future__ import annotations

import argparse
import math


def positive(text: str) -> float:
    """Read a finite number above 0."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f'{text!r}: a number above 0 is wanted')
    return number


def share(text: str) -> float:
    """Read a number from 0 to 1."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f'{text!r}: a number from 0 to 1 is wanted')
    return number


def positive_whole(text: str) -> int:
    """Read a whole number from 1 up."""
    if not (text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(f'{text!r}: a whole number from 1 up is wanted')
    return int(text)


def whole(text: str) -> int:
    """Read a whole number from 0 up."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f'{text!r}: a whole number from 0 up is wanted')
    return int(text)


def explain(parser: argparse.ArgumentParser, text: str | None) -> None:
    """Show a text of several paragraphs, such as a module's docstring, in a parser's help as it stands."""
    parser.description = text
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
