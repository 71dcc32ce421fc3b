"""Tests of the reuse of freed memory, and of the peak memory."""

import platform
import re
import subprocess
import sys

import pytest
import torch

from hifacegan_plugin.system import memory

COUNT_FAULTS = """
import resource, torch
from hifacegan_plugin.system.memory import keep_freed_memory
if {keep}:
    keep_freed_memory()
def allocate():
    maps = [torch.ones(12, 1024, 1024) for _ in range(4)]  # 48 MiB each, more than glibc keeps by default
faults = []
for _ in range(8):  # the system may reclaim idle pages at any time, but hardly before every measurement
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    allocate()
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(min(faults[3:]))
"""


@pytest.mark.skipif(platform.libc_ver() < ('glibc', '2.36'), reason='older versions may reject large thresholds')
@pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='needs glibc')
def test_freed_memory_is_reused():
    faults = {
        keep: int(subprocess.check_output([sys.executable, '-c', COUNT_FAULTS.format(keep=keep)]))
        for keep in (False, True)
    }
    assert faults[False] > 90  # 192 MiB, in huge pages of 2 MiB at most
    assert faults[True] < faults[False] / 10, faults


@pytest.mark.parametrize('largest_accepted', [2**25, 2**31])
def test_a_glibc_that_rejects_large_thresholds(monkeypatch, largest_accepted):
    settings = {}

    class Libc:
        def __init__(self, name):
            assert name is None

        def mallopt(self, parameter, value):
            if parameter == memory.M_MMAP_THRESHOLD and value > largest_accepted:
                return 0
            settings[parameter] = value
            return 1

    monkeypatch.setattr(memory.ctypes, 'CDLL', Libc)
    monkeypatch.setattr(memory.platform, 'libc_ver', lambda: ('glibc', '2.28'))
    memory.keep_freed_memory(2**30)
    assert settings == {memory.M_MMAP_THRESHOLD: min(2**30, largest_accepted), memory.M_TRIM_THRESHOLD: 2**31 - 1}


def test_peak_memory_of_the_process():
    before = memory.peak_memory(torch.device('cpu'))
    held = torch.ones(2**29 // 4)  # half a GiB
    gained = memory.peak_memory(torch.device('cpu')) - before
    peak = before + gained
    assert peak >= held.nbytes
    with open('/proc/self/status') as status:
        (kib,) = re.findall(r'VmHWM:\s+(\d+) kB', status.read())
    assert peak == pytest.approx(int(kib) * 1024, rel=0.02)
