"""Removes modules and functions that Windows does not have, in this process and its child processes.

Python imports this module at startup if its folder is in ``PYTHONPATH``.
"""

import fcntl
import multiprocessing
import os
import select
import signal
import subprocess  # noqa: F401 -- before `msvcrt` exists, which makes it assume Windows
import sys
from types import ModuleType


def locking(descriptor: int, mode: int, count: int) -> None:
    """Lock bytes from the current position of a file, as ``msvcrt.locking`` does."""
    assert mode == sys.modules['msvcrt'].LK_NBLCK
    fcntl_of_linux.lockf(descriptor, fcntl_of_linux.LOCK_EX | fcntl_of_linux.LOCK_NB, count, 0, os.SEEK_CUR)


fcntl_of_linux = fcntl
sys.modules['msvcrt'] = ModuleType('msvcrt')
sys.modules['msvcrt'].LK_NBLCK = 2
sys.modules['msvcrt'].locking = locking

for name in ('fcntl', 'resource'):
    sys.modules[name] = None
for module, names in {
    os: ('fork', 'forkpty', 'mkfifo', 'killpg', 'sched_getaffinity'),
    select: ('poll', 'epoll'),
    signal: ('SIGHUP', 'SIGKILL', 'SIGPIPE', 'SIGUSR1', 'pthread_sigmask', 'sigwait', 'sigwaitinfo', 'setitimer'),
}.items():
    for name in names:
        delattr(module, name)

multiprocessing.set_start_method('spawn')
multiprocessing.get_all_start_methods = lambda: ['spawn']
