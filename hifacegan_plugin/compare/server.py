"""The fork server, from which the processes of the restorers are forked."""

from __future__ import annotations

import multiprocessing
import os
import signal
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Context = multiprocessing.context.ForkServerContext | multiprocessing.context.SpawnContext

WORKER = 'hifacegan_plugin.compare.worker'


def start_server() -> Context:
    """Start the fork server in the background and return the context that starts processes; without one, use ``spawn``.

    The server imports torch and the host once for all restorers. It ignores Ctrl-C.
    """
    if 'forkserver' not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context('spawn')
    # The host counts GPUs when it is imported. If this initialised CUDA, forked processes could not use it.
    os.environ.setdefault('PYTORCH_NVML_BASED_CUDA_CHECK', '1')
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload([WORKER])
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # the server inherits the mask
    try:
        import_module('multiprocessing.forkserver').ensure_running()  # this module does not exist on Windows
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    return context
