"""Checking an argument that has a few values to choose from."""

from __future__ import annotations

from collections.abc import Collection


def check_choice(owner: str, option: str, value: object, choices: Collection[object]) -> None:
    """Refuse a value that is not one of the choices.

    Raises:
        ValueError: names the class, the option, the value and what there is to choose from.
    """
    if value not in choices:
        raise ValueError(f'{owner}: {option}: {value!r} is not one of {", ".join(map(str, choices))}.')
