"""The socket on which the server of the page listens, and its address."""

from __future__ import annotations

import socket


def listen(host: str, port: int) -> socket.socket:
    """Open a socket that listens on a host and a port; port 0: any that is free.

    Raises:
        OSError: it cannot listen there; the message names host and port.
    """
    family = socket.AF_INET6 if ':' in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        reason = getattr(error, 'strerror', None) or error
        raise OSError(f'cannot listen on {host}, port {port} ({reason}): choose others by --host and --port') from error


def url_of(listener: socket.socket) -> str:
    """Return the address of the page, as a browser takes it."""
    host, port = listener.getsockname()[:2]
    return f'http://[{host}]:{port}' if ':' in host else f'http://{host}:{port}'
