"""``hifacegan app`` in a subprocess, for tests."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from conftest import REPOSITORY
from host_training import hear_signals

# Run the command and log all host name lookups and connections.
COMMAND = """
import sys
def note(event, arguments):
    if event == 'socket.connect':
        print(arguments[1], file=log, flush=True)
    if event == 'socket.getaddrinfo':
        print(arguments[:2], file=log, flush=True)
log = open(sys.argv.pop(1), 'w')
sys.addaudithook(note)
from hifacegan_plugin.__main__ import main
sys.exit(main())
"""


class Page(NamedTuple):
    """A running server."""

    process: subprocess.Popen
    url: str
    temporary: Path
    connections: Path


def serve_page(folder: Path, *options: str) -> Page:
    """Start a server and wait until it is ready."""
    temporary, connections = folder / 'tmp', folder / 'connections'
    temporary.mkdir()
    command = [sys.executable, '-c', COMMAND, str(connections), 'app', '--port', '0', *options]
    environment = os.environ | {'TMPDIR': str(temporary), 'PYTHONPATH': str(REPOSITORY)}
    process = subprocess.Popen(
        command,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=hear_signals,
    )
    first_line = process.stdout.readline()
    url = re.search(r'http://127\.0\.0\.1:\d+', first_line)
    assert url, first_line + process.stderr.read()
    return Page(process, url[0], temporary, connections)
