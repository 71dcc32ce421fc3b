"""Memory that is freed stays with the process, and its peak is known."""

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
def look():
    maps = [torch.ones(12, 1024, 1024) for _ in range(4)]  # 48 MiB each, more than glibc ever keeps by itself
faults = []
for _ in range(8):  # the system may take pages that lie idle back at any time, but hardly between all looks
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    look()
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(min(faults[3:]))
"""


@pytest.mark.skipif(platform.libc_ver() < ('glibc', '2.36'), reason='older glibc may refuse to keep blocks so large')
@pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='what is set is of glibc')
def test_feature_maps_are_made_in_memory_that_is_there():
    faults = {
        keep: int(subprocess.check_output([sys.executable, '-c', COUNT_FAULTS.format(keep=keep)]))
        for keep in (False, True)
    }
    assert faults[False] > 90  # 192 MiB, in huge pages of 2 MiB at most
    assert faults[True] < faults[False] / 10, faults


@pytest.mark.parametrize('refuses_more_than', [2**25, 2**31])
def test_a_release_of_glibc_that_refuses_large_blocks_keeps_what_it_can(monkeypatch, refuses_more_than):
    settings = {}

    class Libc:
        def __init__(self, name):
            assert name is None

        def mallopt(self, parameter, value):
            if parameter == memory.M_MMAP_THRESHOLD and value > refuses_more_than:
                return 0
            settings[parameter] = value
            return 1

    monkeypatch.setattr(memory.ctypes, 'CDLL', Libc)
    monkeypatch.setattr(memory.platform, 'libc_ver', lambda: ('glibc', '2.28'))
    memory.keep_freed_memory(2**30)
    assert settings == {memory.M_MMAP_THRESHOLD: min(2**30, refuses_more_than), memory.M_TRIM_THRESHOLD: 2**31 - 1}


def test_memory_is_that_of_the_process():
    before = memory.peak_memory(torch.device('cpu'))
    held = torch.ones(2**29 // 4)  # half a GiB
    gained = memory.peak_memory(torch.device('cpu')) - before
    peak = before + gained
    assert peak >= held.nbytes
    with open('/proc/self/status') as status:
        (kib,) = re.findall(r'VmHWM:\s+(\d+) kB', status.read())
    assert peak == pytest.approx(int(kib) * 1024, rel=0.02)
