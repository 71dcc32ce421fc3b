"""Tests of the reaction to signals."""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import Connection

import pytest
from conftest import HANGS
from host_training import hear_signals

from hifacegan_plugin.models.stop_signal import REPEATED_WITHIN, StopSignal


def listen(reports: Connection, ignored: tuple[signal.Signals, ...]) -> None:
    """Report when this process listens and when it has received a signal, then keep running."""
    hear_signals()
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)
    stop = StopSignal()
    reports.send('listening')
    while not stop.came:
        time.sleep(0.01)
    reports.send(stop.number)
    time.sleep(HANGS)


@pytest.fixture
def listening() -> Callable[..., tuple[multiprocessing.Process, Connection]]:
    """A function that starts a process that listens, and returns it and its reports."""
    processes = []

    def start(*ignored: signal.Signals) -> tuple[multiprocessing.Process, Connection]:
        reports, there = multiprocessing.Pipe(duplex=False)
        processes.append(multiprocessing.get_context('fork').Process(target=listen, args=(there, ignored)))
        processes[-1].start()
        assert reports.recv() == 'listening'
        return processes[-1], reports

    yield start
    for process in processes:
        process.kill()
        process.join()


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGHUP])
def test_the_first_signal_is_recorded_and_a_later_one_ends_the_process(number, listening):
    process, reports = listening()
    os.kill(process.pid, number)
    assert reports.recv() == number
    os.kill(process.pid, number)  # closing terminals send the signal twice
    time.sleep(REPEATED_WITHIN + 0.1)
    assert process.is_alive()
    os.kill(process.pid, number)
    process.join(timeout=30)
    assert process.exitcode == -number


def test_repeated_sigterm_does_not_end_the_process(listening):
    process, _ = listening()
    for _ in range(2):
        process.terminate()
        time.sleep(REPEATED_WITHIN + 0.1)
    assert process.is_alive()
    os.kill(process.pid, signal.SIGINT)
    process.join(timeout=30)
    assert process.exitcode == -signal.SIGINT


def test_signals_that_nohup_ignores_stay_ignored(listening):
    process, reports = listening(signal.SIGHUP)
    os.kill(process.pid, signal.SIGHUP)
    process.terminate()
    assert reports.recv() == signal.SIGTERM
