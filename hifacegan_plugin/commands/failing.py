"""How a command says what went wrong: behind its name, on standard error."""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Callable

RunCommand = Callable[[argparse.Namespace], int]

FAILED = 2  # exit status: nothing was done


def fails_on(*errors: type[Exception]) -> Callable[[RunCommand], RunCommand]:
    """Let a command's ``run`` end with status 2 and the message of such an error, which its user can put right."""

    def decorate(run: RunCommand) -> RunCommand:
        @functools.wraps(run)
        def run_or_complain(arguments: argparse.Namespace) -> int:
            try:
                return run(arguments)
            except BrokenPipeError:  # an OSError, but of a reader that has seen enough
                raise
            except errors as error:
                complain(arguments, error)
                return FAILED

        return run_or_complain

    return decorate


def complain(arguments: argparse.Namespace, what: object) -> None:
    """Print what is wrong behind the name of the command that the arguments are of."""
    print(f'hifacegan {arguments.command}: {what}', file=sys.stderr)
