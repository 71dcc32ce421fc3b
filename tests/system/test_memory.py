"""Memory that is freed stays with the process."""

import platform
import subprocess
import sys

import pytest

from hifacegan_plugin.system import memory as malloc

COUNT_FAULTS = """
import resource, torch
from hifacegan_plugin.system.memory import keep_freed_memory
if {keep}:
    keep_freed_memory()
def look():
    maps = [torch.ones(12, 1024, 1024) for _ in range(4)]  # 48 MiB each, more than glibc ever keeps by itself
for _ in range(3):
    look()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
look()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
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
            if parameter == malloc.M_MMAP_THRESHOLD and value > refuses_more_than:
                return 0
            settings[parameter] = value
            return 1

    monkeypatch.setattr(malloc.ctypes, 'CDLL', Libc)
    monkeypatch.setattr(malloc.platform, 'libc_ver', lambda: ('glibc', '2.28'))
    malloc.keep_freed_memory(2**30)
    assert settings == {malloc.M_MMAP_THRESHOLD: min(2**30, refuses_more_than), malloc.M_TRIM_THRESHOLD: 2**31 - 1}
