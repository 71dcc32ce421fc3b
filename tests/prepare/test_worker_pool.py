"""Tests of pools of worker processes."""

import subprocess
import sys

from conftest import HANGS, REPOSITORY

AFTER_THREADS_OF_OPENCV = """
import cv2, numpy as np
from hifacegan_plugin.prepare import worker_pool
cv2.setNumThreads(2)
for _ in range(20):
    cv2.GaussianBlur(np.zeros((1500, 1500, 3)), (0, 0), 3)
with worker_pool.process_pool(2) as pool:
    print(list(pool.map(abs, [-1, 2, -3])))
"""


def test_a_pool_works_after_opencv_has_started_threads():
    result = subprocess.run(
        [sys.executable, '-c', AFTER_THREADS_OF_OPENCV],
        cwd=REPOSITORY,
        text=True,
        capture_output=True,
        check=True,
        timeout=HANGS,
    )
    assert result.stdout == '[1, 2, 3]\n'
