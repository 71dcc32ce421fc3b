"""What a check finds."""

from __future__ import annotations

from typing import NamedTuple


class Finding(NamedTuple):
    """Something that is wrong, or likely not meant."""

    what: str  # where it is (package, option, file), and what is wrong with it
    mend: str  # what to do about it
    stops: bool = True  # training would not start, or could come to nothing


def in_words(error: Exception) -> str:
    """Say what an exception says; those that say little without their type are given it."""
    text = str(error).strip()
    return text if isinstance(error, (ValueError, OSError)) and text else f'{type(error).__name__}: {text}'
