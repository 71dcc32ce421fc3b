"""Report errors of a command: its name and the message, on standard error."""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Callable

RunCommand = Callable[[argparse.Namespace], int]

FAILED = 2  # exit status: nothing was done


def fails_on(*errors: type[Exception]) -> Callable[[RunCommand], RunCommand]:
    """Decorate a command's ``run``: these errors, which the user can fix, print their message and return status 2."""

    def decorate(run: RunCommand) -> RunCommand:
        @functools.wraps(run)
        def run_or_complain(arguments: argparse.Namespace) -> int:
            try:
                return run(arguments)
            except BrokenPipeError:  # an OSError, but it only means that the reader has stopped
                raise
            except errors as error:
                complain(arguments, error)
                return FAILED

        return run_or_complain

    return decorate


def complain(arguments: argparse.Namespace, what: object) -> None:
    """Print an error message after the name of the command that the arguments belong to."""
    print(f'hifacegan {arguments.command}: {what}', file=sys.stderr)
