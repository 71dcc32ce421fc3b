"""Check the arguments of a network."""

from __future__ import annotations

from collections.abc import Collection


def check_choice(owner: str, option: str, value: object, choices: Collection[object]) -> None:
    """Refuse a value that is not one of the choices.

    Raises:
        ValueError: names the class, the option, the value and the choices.
    """
    if value not in choices:
        raise ValueError(f'{owner}: {option}: {value!r} is not one of {", ".join(map(str, choices))}.')


def check_counts(owner: str, **counts: int) -> None:
    """Refuse numbers of channels, layers and the like that are below 1.

    Raises:
        ValueError: names the class, the option and the value.
    """
    for option, count in counts.items():
        if count < 1:
            raise ValueError(f'{owner}: {option}: {count} is less than 1.')
