"""Errors that the plugin raises with a message for the user end a process with that message alone."""

from __future__ import annotations

import re
import sys
import traceback
from pathlib import Path
from types import TracebackType

_BEGINNING = 'Traceback (most recent call last):\n'
# The end of a traceback whose last frame is a raise statement of the plugin.
_RAISED_BY_PLUGIN = re.compile(
    rf'  File "{re.escape(str(Path(__file__).parents[1]))}[^"\n]*", line \d+, in [^\n]*\n'
    r'    raise [^\n]*\n(?:    [^\n]*\n)*[\w.]+: (?P<message>.*)\Z',
    re.DOTALL,
)


def show_messages_alone() -> None:
    """Show an error that ends this process by its message if the plugin raised it, all others with their traceback.

    Errors in the worker of a data loader are treated alike. The exit status stays 1.
    """

    def show(kind: type[BaseException], error: BaseException, frames: TracebackType | None) -> None:
        text = ''.join(traceback.format_exception(kind, error, frames))
        explained = _RAISED_BY_PLUGIN.search(text.rpartition(_BEGINNING)[2])  # a worker's traceback is in the message
        if explained:
            print(explained['message'].strip(), file=sys.stderr)
        else:
            sys.__excepthook__(kind, error, frames)

    sys.excepthook = show
