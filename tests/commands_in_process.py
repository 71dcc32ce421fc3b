"""Run commands of ``hifacegan`` in the process of a test, which saves the seconds of imports."""

import contextlib
import io
import subprocess

from hifacegan_plugin.__main__ import main


def run_command(name, *arguments, status=0):
    """Run a command, check its exit status, and return what it printed."""
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as errors:
        try:
            found = main([name, *map(str, arguments)])
        except SystemExit as stop:
            found = stop.code
    assert found == status, out.getvalue() + errors.getvalue()
    return subprocess.CompletedProcess(arguments, found, out.getvalue(), errors.getvalue())
