"""The server of the page, and its content security policy."""

from __future__ import annotations

import socket
import threading

import gradio as gr
import uvicorn
from fastapi import FastAPI
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hifacegan_plugin.app.environment import url_of

# The page may load from its own server, and use data and blobs that it makes. Gradio needs both "unsafe" sources.
CONTENT_POLICY = "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; frame-ancestors 'none'"
POLL_INTERVAL = 1  # seconds; Windows reports no signal while a thread is waited for


def serve(page: gr.Blocks, listener: socket.socket, max_file_size: int) -> None:
    """Serve the page until this thread is interrupted.

    Args:
        page: to be served.
        listener: of :func:`~hifacegan_plugin.app.environment.listen`.
        max_file_size: bytes that an uploaded file may have.
    """
    server = uvicorn.Server(uvicorn.Config(_make_app(page, max_file_size), log_level='critical'))
    # In the main thread, the server would handle the signals, and wait for the current image before it ends.
    thread = threading.Thread(target=server.run, kwargs={'sockets': [listener]}, daemon=True)
    thread.start()
    print(f'Open {url_of(listener)} in a browser. Ctrl-C here ends the page.', flush=True)
    while thread.is_alive():
        thread.join(POLL_INTERVAL)


def _make_app(page: gr.Blocks, max_file_size: int) -> ASGIApp:
    """Make a web application of the page, without Gradio's further endpoints."""
    app = gr.mount_gradio_app(
        FastAPI(), page, '/', max_file_size=max_file_size, footer_links=[], run_history=False,
        enable_monitoring=False, ssr_mode=False, pwa=False, mcp_server=False,
        # The system's fonts: of Gradio's own, one lacks letters, and others are Google's.
        theme=gr.themes.Default(font=('system-ui', 'sans-serif'), font_mono=('ui-monospace', 'monospace')),
    )  # fmt: skip
    return _confine(app)


def _confine(app: ASGIApp) -> ASGIApp:
    """Forbid browsers to load anything from other servers, or to send anything to them."""

    async def confined(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_policy(message: Message) -> None:
            if message['type'] == 'http.response.start':
                MutableHeaders(scope=message)['Content-Security-Policy'] = CONTENT_POLICY
            await send(message)

        await app(scope, receive, send_with_policy)

    return confined
