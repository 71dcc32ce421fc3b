"""Tests of the reaction to signals."""

import signal
import subprocess
import sys
import time

import pytest
from host_training import hear_signals

from hifacegan_plugin.models.stop_signal import REPEATED_WITHIN

# Reports when it listens and when it has received a signal, then keeps running.
LISTENING = """
import time
from hifacegan_plugin.models.stop_signal import StopSignal
stop = StopSignal()
print('listening', flush=True)
while not stop.came:
    time.sleep(0.01)
print(stop.number.name, flush=True)
time.sleep(60)
"""


@pytest.fixture
def listening():
    processes = []

    def start(*before: str) -> subprocess.Popen:
        process = subprocess.Popen(
            [*before, sys.executable, '-c', LISTENING],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=hear_signals,
        )
        processes.append(process)
        assert process.stdout.readline() == 'listening\n'
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGHUP])
def test_the_first_signal_is_recorded_and_a_later_one_ends_the_process(number, listening):
    process = listening()
    process.send_signal(number)
    assert process.stdout.readline() == f'{number.name}\n'
    process.send_signal(number)  # closing terminals send the signal twice
    time.sleep(REPEATED_WITHIN + 0.1)
    assert process.poll() is None
    process.send_signal(number)
    assert process.wait(timeout=30) == -number


def test_repeated_sigterm_does_not_end_the_process(listening):
    process = listening()
    for _ in range(2):
        process.send_signal(signal.SIGTERM)
        time.sleep(REPEATED_WITHIN + 0.1)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == -signal.SIGINT


def test_signals_that_nohup_ignores_stay_ignored(listening):
    process = listening('nohup')
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline() == 'SIGTERM\n'
