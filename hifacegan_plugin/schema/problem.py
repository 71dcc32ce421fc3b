"""Problems with options, described in words."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple


class Problem(NamedTuple):
    """An error, or something that the user probably did not mean."""

    what: str  # where the problem is (package, option, file), and what is wrong
    fix: str  # what to do about it
    stops: bool = True  # whether training would fail or be useless


class OptionError(ValueError):
    """An option has an invalid value; the message names the option and its valid values."""


class DataSetError(ValueError):
    """A data set cannot be built or read; the message names its section.

    Args:
        message: what is wrong.
        missing: the option that is missing, if this is the error.
    """

    def __init__(self, message: str, missing: str | None = None) -> None:
        super().__init__(message)
        self.missing = missing


@contextmanager
def errors_of_data_set(where: str, kind: str) -> Iterator[None]:
    """Turn any error in this block, which builds or reads a data set, into one that names the section.

    Args:
        where: the section, such as ``datasets: val``.
        kind: the class of the data set.

    Raises:
        DataSetError: there was an error.
    """
    try:
        yield
    except KeyError as error:  # the host's data sets do not check that options are present
        raise DataSetError(f'{where}: {kind} needs {error.args[0]}.', str(error.args[0])) from error
    except Exception as error:  # data sets of the host and of other packages may raise anything
        raise DataSetError(f'{where}: {describe_error(error)}') from error


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """Return ``". Did you mean 'x'?"`` for the known name closest to ``name``, or a full stop."""
    close = difflib.get_close_matches(str(name), list(known), n=1)
    return f". Did you mean '{close[0]}'?" if close else '.'


def raise_first(problems: Iterable[Problem]) -> None:
    """Raise the first problem that stops a training.

    Raises:
        OptionError: there is such a problem.
    """
    for problem in problems:
        if problem.stops:
            raise OptionError(problem.what)


def describe_error(error: Exception) -> str:
    """Return the message of an exception, with its type if the message says little without it."""
    text = str(error).strip()
    return text if isinstance(error, (ValueError, OSError)) and text else f'{type(error).__name__}: {text}'
