"""Work on many items at a time, in bounded memory."""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

import cv2

from hifacegan_plugin.prepare.build_error import BuildError
from hifacegan_plugin.system.parent import end_with_parent

Item = TypeVar('Item')
Result = TypeVar('Result')


def ordered_map(
    executor: Executor, function: Callable[[Item], Result], items: Iterable[Item], window: int
) -> Iterator[Result]:
    """Map as ``executor.map``, with at most ``window`` items in work or waiting to be taken."""
    pending: deque[Future[Result]] = deque()
    for item in items:
        pending.append(executor.submit(function, item))
        if len(pending) == window:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()


def map_in_threads(function: Callable[[Item], Result], jobs: int, items: Iterable[Item]) -> Iterator[Result]:
    """Map in order by ``jobs`` threads, which OpenCV adds none of its own to."""
    cv2.setNumThreads(1)
    with ThreadPoolExecutor(jobs) as executor:
        yield from ordered_map(executor, function, items, window=4 * jobs)


def map_in_processes(function: Callable[[Item], Result], jobs: int, items: Iterable[Item]) -> Iterator[Result]:
    """Map in order by ``jobs`` processes.

    Raises:
        BuildError: one was killed.
    """
    try:
        with process_pool(jobs) as executor:
            yield from ordered_map(executor, function, items, window=4 * jobs)
    except BrokenProcessPool as error:
        raise BuildError(
            'a worker process was killed (out of memory?): run the same command with --resume and fewer --jobs'
        ) from error


def process_pool(jobs: int) -> ProcessPoolExecutor:
    """Make a pool of processes of one thread each that end with this one, also when it is killed."""
    return ProcessPoolExecutor(jobs, initializer=_prepare_worker)


def _prepare_worker() -> None:
    cv2.setNumThreads(0)  # 1 would wait for ever for threads of OpenCV that the fork has left behind
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the parent alone decides
    end_with_parent()
