"""Restore all test sets with one restorer, in its own process.

So its peak memory can be measured, and a crash does not affect other restorers.
"""

from __future__ import annotations

import logging
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from mmengine.analysis import FlopAnalyzer
from torch import Tensor, nn
from tqdm import tqdm

import hifacegan_plugin
from hifacegan_plugin.compare.folder import Folder, read_json, write_json
from hifacegan_plugin.compare.job import Job
from hifacegan_plugin.compare.methods import GuideInChannels, Method, build_method
from hifacegan_plugin.images.writing import write_png
from hifacegan_plugin.schema.comparison import DEGRADED, GUIDE, TRUTH
from hifacegan_plugin.schema.problem import describe_error
from hifacegan_plugin.system.memory import keep_freed_memory, peak_memory
from hifacegan_plugin.system.parent import end_with_parent

if TYPE_CHECKING:
    from hifacegan_plugin.compare.server import Context

WARM_UPS = 2  # untimed restorations before the first timed one
MIB = 1 << 20

hifacegan_plugin.register()  # once for all processes, because the fork server imports this module


def run_job(context: Context, job: Job) -> dict[str, Any]:
    """Run a job in a new process and return its summary; if the process crashed, ``error`` says how."""
    summary_file = job.folder.summary(job.label)
    summary_file.unlink(missing_ok=True)
    process = context.Process(target=_restore_in_process, args=(job,))
    process.start()
    try:
        process.join()
    except KeyboardInterrupt:
        process.terminate()  # finished images are kept
        process.join()
        raise
    return read_json(summary_file) or {'error': describe_end(process.exitcode or 0)}


def _restore_in_process(job: Job) -> None:
    """Run a job; exit without a traceback on Ctrl-C and SIGTERM, and when the parent process ends."""
    end_with_parent()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    restore(job)


def describe_end(status: int) -> str:
    """Return why a process ended without a summary, from its exit code in ``multiprocessing``."""
    if status < 0:
        name = signal.Signals(-status).name
        reason = ', probably because memory ran out' if name == 'SIGKILL' else ''
        return f'its process was killed by {name}{reason}'
    return f'its process exited with status {status}; see the lines above'


def restore(job: Job) -> None:
    """Run a job and write its summary, with an ``error`` if the restorer failed as a whole."""
    job.remove_outdated_images()  # first, because building the method may fail
    summary: dict[str, Any] = {}
    memory_before = _memory()
    try:
        method = build_method(job.options)
        parameters = () if method.network is None else method.network.parameters()
        summary['parameters'] = sum(parameter.numel() for parameter in parameters)
        keep_freed_memory()
        for test_set in job.images:
            _restore_set(method, job, test_set, memory_before)
        summary.update(_count_gflop(method, job))
    except Exception as error:  # networks of other packages may raise anything; shown in the table
        logging.getLogger('basicsr').debug('restorer failed', exc_info=True)
        summary['error'] = describe_error(error)
    write_json(job.folder.summary(job.label), summary)


def _restore_set(method: Method, job: Job, test_set: str, memory_before: int) -> None:
    """Restore the remaining images of a test set; failures are logged, and the next run tries them again."""
    with job.remaining(test_set) as (pending, append):
        warm = False
        for name in tqdm(pending, desc=f'{test_set}: {job.label}', unit='image'):
            _reset_peak_memory()
            try:
                degraded, size = _read_input(method, job.folder, test_set, name)
                if not warm:
                    for _ in range(WARM_UPS):
                        method.restore(degraded, size)
                    warm = True
                start = time.perf_counter()
                image = method.restore(degraded, size)
                milliseconds = 1e3 * (time.perf_counter() - start)
                peak = _peak_memory()
            except torch.OutOfMemoryError:
                raise
            except (ValueError, RuntimeError) as error:  # the next image may succeed
                append({'name': name, 'error': str(error)})
                continue
            write_png(job.folder.image(test_set, job.label, name), image)
            memory = {} if peak is None else {'peak_mib': (peak - memory_before) / MIB}
            append({'name': name, 'milliseconds': milliseconds, **memory})


def _count_gflop(method: Method, job: Job) -> dict[str, Any]:
    """Count a network's operations on the first restored image; empty without a network or restored images."""
    if method.network is None or method.network_input is None:
        return {}
    for test_set in job.images:
        for record in job.done(test_set)[:1]:
            x = method.network_input(*_read_input(method, job.folder, test_set, record['name']))
            return {'gflop': count_operations(method.network, x) / 1e9, 'gflop_input': list(x.shape[2:])}
    return {}


def _read_input(method: Method, folder: Folder, test_set: str, name: str) -> tuple[np.ndarray, tuple[int, int]]:
    """Return a degraded image, with the channels of its guide appended if the method takes one, and the result's size.

    Raises:
        ValueError: the method takes a guide, and the test set has none.
    """
    image = folder.read_image(test_set, DEGRADED, name)
    if isinstance(method.network, GuideInChannels):
        if not folder.image(test_set, GUIDE, name).is_file():
            raise ValueError(f'the network takes a guide, and {test_set} has none: set guide: {{}} in its options')
        image = np.concatenate([image, folder.read_image(test_set, GUIDE, name)], axis=2)
    return image, folder.read_image(test_set, TRUTH, name).shape[:2]


def count_operations(network: nn.Module, x: Tensor) -> float:
    """Count the operations of a network for an input ``(N, C, H, W)``; a multiply-add is two.

    Convolutions, matrix products and normalisations are counted; additions and activations are not.
    """
    with torch.no_grad():
        analyzer = FlopAnalyzer(network, (x,)).unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        return 2 * analyzer.total()  # mmengine counts a multiply-add as one


# ------------------------------------------------------------------------------------------------------- memory


def _memory() -> int:
    """Return the bytes in use: allocated on the GPU, or resident in this process without a GPU."""
    if torch.cuda.is_available():
        return torch.cuda.memory_allocated()
    return _resident('VmRSS') if sys.platform == 'linux' else 0


def _reset_peak_memory() -> None:
    """Reset the peak memory, if the system allows it."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    elif sys.platform == 'linux':
        Path('/proc/self/clear_refs').write_text('5')  # see proc(5)


def _peak_memory() -> int | None:
    """Return the peak bytes in use since :func:`_reset_peak_memory`; None if the system does not report them."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    if sys.platform == 'linux':
        return _resident('VmHWM')
    return peak_memory(torch.device('cpu'))


def _resident(field: str) -> int:
    """Read VmRSS or VmHWM in bytes; unlike ru_maxrss, they do not include the parent process."""
    values = dict(line.split(':', 1) for line in Path('/proc/self/status').read_text().splitlines())
    return 1024 * int(values[field].removesuffix('kB'))
