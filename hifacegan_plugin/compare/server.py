"""The process that those of the restorers are forked from."""

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
    """Start this process unless it runs, and return what starts the others; a system without it has none to start.

    It imports the host once for all of them, while the process that started it goes on. It holds no network, has
    computed nothing, and leaves Ctrl-C to the process that started it.
    """
    if 'forkserver' not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context('spawn')
    # Importing the host counts the GPUs; if CUDA itself did, the processes that are forked could not use it.
    os.environ.setdefault('PYTORCH_NVML_BASED_CUDA_CHECK', '1')
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload([WORKER])
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # which a process inherits
    try:
        import_module('multiprocessing.forkserver').ensure_running()  # there is no such module on Windows
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    return context
