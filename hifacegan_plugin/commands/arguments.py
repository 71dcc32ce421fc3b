"""Types of command-line arguments."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable
from pathlib import Path

from hifacegan_plugin.system.files import nearest_existing


def positive(text: str) -> float:
    """Read a finite number above 0."""
    return _number(text, lambda number: 0 < number < math.inf, 'a number above 0')


def from_zero(text: str) -> float:
    """Read a finite number of at least 0."""
    return _number(text, lambda number: 0 <= number < math.inf, 'a number of at least 0')


def share(text: str) -> float:
    """Read a number from 0 to 1."""
    return _number(text, lambda number: 0 <= number <= 1, 'a number from 0 to 1')


def positive_whole(text: str) -> int:
    """Read a whole number of at least 1."""
    if not (text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(f'{text!r}: expected a whole number of at least 1')
    return int(text)


def whole(text: str) -> int:
    """Read a whole number of at least 0."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f'{text!r}: expected a whole number of at least 0')
    return int(text)


def output_file(text: str) -> Path:
    """Read the path of a file to write; its folder may be missing."""
    path = Path(text)
    try:
        is_folder = path.is_dir()
    except OSError as error:  # for example, the name is too long
        raise argparse.ArgumentTypeError(f'{text!r}: {error.strerror}') from error
    if is_folder:
        raise argparse.ArgumentTypeError(f'{text!r}: expected a file, not a folder')
    existing = nearest_existing(path.parent)
    if not existing.is_dir():
        raise argparse.ArgumentTypeError(f'{text!r}: {existing} is not a folder')
    if not os.access(existing, os.W_OK | os.X_OK):
        raise argparse.ArgumentTypeError(f'{text!r}: {existing} is read-only')
    return path


def _number(text: str, accept: Callable[[float], bool], wanted: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not accept(number):
        raise argparse.ArgumentTypeError(f'{text!r}: expected {wanted}')
    return number
