"""Signals that are sent to all processes of a job: the training handles them, its data workers ignore them."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from typing import Any

from hifacegan_plugin.host.workaround import workaround

SENDER_IS_KNOWN = hasattr(signal, 'sigwaitinfo')  # of a signal; not on macOS and Windows


@workaround(
    defect='Ctrl-C and a closed terminal lose unsaved progress; data workers end on every signal',
    fix='saves a checkpoint, then exits; data workers ignore the signals',
)
def handle_signals_only_in_training() -> None:
    """Let data workers end on SIGTERM only if the training process sent it, and never on SIGINT and SIGHUP.

    Terminals and cluster managers send these signals to all processes of a job. The training needs its workers to
    finish the iteration before it saves and exits. On systems that do not name the sender, any SIGTERM ends workers.
    """
    from basicsr import data as host_data
    from basicsr.data.prefetch_dataloader import CPUPrefetcher, CUDAPrefetcher

    from hifacegan_plugin.models.stop_signal import STOPPING

    def of_worker(worker_init_fn: Callable[..., None]) -> Callable[..., Any]:
        def initialise_and_mask_signals(*arguments: Any, **options: Any) -> None:
            worker_init_fn(*arguments, **options)
            if SENDER_IS_KNOWN:
                signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
                threading.Thread(target=_exit_on_sigterm_of_parent, daemon=True).start()
            else:
                for number in set(STOPPING) - {signal.SIGTERM}:
                    signal.signal(number, signal.SIG_IGN)

        return initialise_and_mask_signals

    def of_start(start_workers: Callable[..., None]) -> Callable[..., Any]:
        def start_workers_with_signals_blocked(*arguments: Any) -> None:
            before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)  # workers inherit the mask from their start
            try:
                start_workers(*arguments)
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)

        return start_workers_with_signals_blocked

    handle_signals_only_in_training.wrap(host_data, 'worker_init_fn', of_worker)
    if not SENDER_IS_KNOWN:
        return
    for prefetcher in (CPUPrefetcher, CUDAPrefetcher):
        handle_signals_only_in_training.wrap(prefetcher, '__init__', of_start)
        handle_signals_only_in_training.wrap(prefetcher, 'reset', of_start)


def _exit_on_sigterm_of_parent() -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(0)
