"""The web server of the page and its content security policy."""

from __future__ import annotations

import socket
import threading

import gradio as gr
import uvicorn
from fastapi import FastAPI
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hifacegan_plugin.app.environment import url_of

# The page may load only from its own server, and from data and blobs that it creates. Gradio needs both "unsafe"
# sources.
CONTENT_POLICY = "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; frame-ancestors 'none'"
POLL_INTERVAL = 1  # seconds; on Windows, waiting for a thread without a timeout blocks Ctrl-C


def serve(page: gr.Blocks, listener: socket.socket, max_file_size: int) -> None:
    """Serve the page until this thread is interrupted.

    Args:
        page: the page.
        listener: result of :func:`~hifacegan_plugin.app.environment.listen`.
        max_file_size: largest size of an uploaded file, in bytes.
    """
    server = uvicorn.Server(uvicorn.Config(_make_app(page, max_file_size), log_level='critical'))
    # In the main thread, uvicorn would handle the signals and wait for the current image before it exits.
    thread = threading.Thread(target=server.run, kwargs={'sockets': [listener]}, daemon=True)
    thread.start()
    print(f'Open {url_of(listener)} in a browser. Press Ctrl-C here to stop the server.', flush=True)
    while thread.is_alive():
        thread.join(POLL_INTERVAL)


def _make_app(page: gr.Blocks, max_file_size: int) -> ASGIApp:
    """Return a web application that serves the page without Gradio's optional features."""
    app = gr.mount_gradio_app(
        FastAPI(), page, '/', max_file_size=max_file_size, footer_links=[], run_history=False,
        enable_monitoring=False, ssr_mode=False, pwa=False, mcp_server=False,
        # System fonts: Gradio's default fonts lack some letters or are loaded from Google.
        theme=gr.themes.Default(font=('system-ui', 'sans-serif'), font_mono=('ui-monospace', 'monospace')),
    )  # fmt: skip
    return _with_content_policy(app)


def _with_content_policy(app: ASGIApp) -> ASGIApp:
    """Add ``CONTENT_POLICY`` to all responses, so that browsers contact no other servers."""

    async def app_with_policy(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_policy(message: Message) -> None:
            if message['type'] == 'http.response.start':
                MutableHeaders(scope=message)['Content-Security-Policy'] = CONTENT_POLICY
            await send(message)

        await app(scope, receive, send_with_policy)

    return app_with_policy
