"""Memory that is freed stays with the process."""

import platform
import subprocess
import sys

import pytest

COUNT_FAULTS = """
import resource, torch
from hifacegan_plugin.malloc import keep_freed_memory
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


@pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='what is set is of glibc')
def test_feature_maps_are_made_in_memory_that_is_there():
    faults = {
        keep: int(subprocess.check_output([sys.executable, '-c', COUNT_FAULTS.format(keep=keep)]))
        for keep in (False, True)
    }
    assert faults[False] > 90  # 192 MiB, in huge pages of 2 MiB at most
    assert faults[True] < faults[False] / 10, faults
