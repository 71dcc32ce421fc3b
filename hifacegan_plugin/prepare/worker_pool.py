"""Parallel maps over many items, in bounded memory."""

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
    """Like ``executor.map``, but with at most ``window`` items submitted at a time."""
    pending: deque[Future[Result]] = deque()
    for item in items:
        pending.append(executor.submit(function, item))
        if len(pending) == window:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()


def map_in_threads(function: Callable[[Item], Result], jobs: int, items: Iterable[Item]) -> Iterator[Result]:
    """Map in order with ``jobs`` threads; OpenCV uses no additional threads."""
    cv2.setNumThreads(1)
    with ThreadPoolExecutor(jobs) as executor:
        yield from ordered_map(executor, function, items, window=4 * jobs)


def map_in_processes(function: Callable[[Item], Result], jobs: int, items: Iterable[Item]) -> Iterator[Result]:
    """Map in order with ``jobs`` processes.

    Raises:
        BuildError: a worker process was killed.
    """
    try:
        with process_pool(jobs) as executor:
            yield from ordered_map(executor, function, items, window=4 * jobs)
    except BrokenProcessPool as error:
        raise BuildError(
            'a worker process was killed (out of memory?): run the same command with --resume and fewer --jobs'
        ) from error


def process_pool(jobs: int) -> ProcessPoolExecutor:
    """Return a pool of single-threaded processes that end with this process, even if it is killed."""
    return ProcessPoolExecutor(jobs, initializer=_prepare_worker)


def _prepare_worker() -> None:
    cv2.setNumThreads(0)  # 1 would wait forever for OpenCV threads that do not exist after a fork
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C signals all processes, but only the parent handles it
    end_with_parent()
