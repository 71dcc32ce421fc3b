"""Tests of the log line with the speed of a training, with a fake clock."""

import re

import pytest
import torch
from small_training import built, train

from hifacegan_plugin.models import throughput


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(throughput.time, 'monotonic', lambda: now[0])
    return now


def test_speed_since_the_last_line_and_remaining_time(clock):
    told = throughput.Throughput(1000, torch.device('cpu'))
    for _ in range(10):
        told.count(8)
        clock[0] += 2
    assert re.match(r'10 of 1,000 iterations, 4 images/s, .*, 0:33:00 left', told.line(10))
    for _ in range(10):
        told.count(8)
        clock[0] += 4
    assert re.match(r'20 of 1,000 iterations, 2 images/s, .*, 0:49:00 left', told.line(20))


def test_remaining_time_after_resuming(clock):
    told = throughput.Throughput(1000, torch.device('cpu'))
    told.count(8)
    clock[0] += 1
    assert told.line(991).endswith(', 0:00:09 left')


def test_lines_are_logged_with_print_freq(options, caplog):
    options['logger']['print_freq'] = 2
    options['train']['total_iter'] = 6
    with caplog.at_level('INFO', 'basicsr'):
        train(built(options), range(1, 6))
    lines = re.findall(r'(\d) of 6 iterations, [\d.]+ images/s, [\d.]+ GiB at most, \d:\d\d:\d\d left', caplog.text)
    assert lines == ['2', '4']
