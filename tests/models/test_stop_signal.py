"""What a process that trains does on each signal."""

import signal
import subprocess
import sys
import time

import pytest
from host_training import hear_signals

from hifacegan_plugin.models.stop_signal import ONE_REQUEST

# Says when it listens and when it has heard, and then lives on.
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
def test_the_first_is_remembered_and_a_later_one_ends_at_once(number, listening):
    process = listening()
    process.send_signal(number)
    assert process.stdout.readline() == f'{number.name}\n'
    process.send_signal(number)  # as terminals do that close
    time.sleep(ONE_REQUEST + 0.1)
    assert process.poll() is None
    process.send_signal(number)
    assert process.wait(timeout=30) == -number


def test_sigterm_may_come_again_and_again(listening):
    process = listening()
    for _ in range(2):
        process.send_signal(signal.SIGTERM)
        time.sleep(ONE_REQUEST + 0.1)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == -signal.SIGINT


def test_what_the_process_was_started_to_ignore_stays_ignored(listening):
    process = listening('nohup')
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline() == 'SIGTERM\n'
