"""What a process says that cannot go on because another one of the same training has ended."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

# How gloo and NCCL put it.
LOST = re.compile(r'by peer|Broken pipe|remote (worker|process)|Timed out waiting|timed? ?out|NCCL|ncclRemote', re.I)


def explain_lost_process(method: Callable) -> Callable:
    """Make a method of a model that exchanges with other processes say what it means when that fails.

    Raises:
        ConnectionError: another process cannot be reached any more.
    """

    @functools.wraps(method)
    def call(self: Any, *arguments: Any, **options: Any) -> Any:
        try:
            return method(self, *arguments, **options)
        except RuntimeError as error:
            if not self.opt['dist'] or not LOST.search(str(error)):
                raise
            reason = str(error).partition('. ')[0]
            raise ConnectionError(
                f'Process {self.opt["rank"]}: another process of this training has ended or cannot be reached; its own '
                f'output says why. This one ends, too. --auto_resume goes on from the last checkpoint. ({reason})'
            ) from None

    return call
