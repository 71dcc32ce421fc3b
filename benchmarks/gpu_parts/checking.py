"""Run the tests marked cuda, and compile networks for the other parts at the same time."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

import torch

from gpu_parts.inference import contestant
from gpu_parts.results import REPOSITORY, Results
from gpu_parts.timing import TF32, batch_of, float32_as
from gpu_parts.training import BF16, Setting, stepper

WARMED = ('train paper', 'infer paper', 'train fast', 'infer packaged')  # compiled by --check in the background


def check(results: Results, quick: bool) -> None:
    """Run the tests marked cuda in parallel; at the same time, compile networks for the other parts."""
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder, 'rows')
        rows.touch()
        command = [
            sys.executable,
            str(REPOSITORY / 'benchmarks/gpu.py'),
            '--compile',
            str(rows),
            '--device',
            results.device.type,
        ]
        environment = {'TORCHINDUCTOR_COMPILE_THREADS': '4', **os.environ}
        start = time.monotonic()
        process = subprocess.Popen(
            command + ['--quick'] * quick,
            cwd=REPOSITORY,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            run_tests(results)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.1, results.deadline - time.monotonic()))
        finally:
            process.kill()
        done = [json.loads(line) for line in rows.read_text().splitlines()]
    for row in done:
        results.add(group='Compiled beforehand', **row)
    if len(done) < len(WARMED):
        results.add(
            group='Compiled beforehand',
            name=WARMED[len(done)],
            outcome='cut off',
            took=time.monotonic() - start - sum(row['took'] for row in done),
        )


def run_tests(results: Results) -> None:
    """Run pytest in a subprocess, and add a row for each test as soon as it ends."""
    workers = min(8, (os.cpu_count() or 2) // 2)
    files = sorted((REPOSITORY / 'tests').rglob('test_cuda_*.py'))  # other files import optional packages
    command = [
        sys.executable,
        '-m',
        'pytest',
        '-m',
        'cuda',
        '-p',
        'gpu_rows',
        '-n',
        str(workers),
        '-q',
        '-o',
        'addopts=',
        '--device',
        results.device.type,
        *map(str, files),
    ]
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder, 'rows')
        rows.touch()
        plugin = Path(folder, 'gpu_rows.py')
        plugin.write_text(PYTEST_PLUGIN)
        path = os.pathsep.join([folder, str(REPOSITORY), os.environ.get('PYTHONPATH', '')])
        environment = {
            'OMP_NUM_THREADS': '2',
            'TORCHINDUCTOR_COMPILE_THREADS': '4',
            **os.environ,
            'PYTHONPATH': path,
            'GPU_ROWS': str(rows),
        }
        log = Path(folder, 'log')
        with log.open('w') as output:
            process = subprocess.Popen(
                command,
                cwd=REPOSITORY,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        reported = 0
        try:
            while True:
                ended = process.poll() is not None
                lines = rows.read_text().splitlines()
                for line in lines[reported:]:
                    results.add(group='Tests', **json.loads(line))
                reported = len(lines)
                if ended or time.monotonic() > results.deadline:
                    break
                time.sleep(0.2)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, 9)
        summary = log.read_text().strip().splitlines()
        results.add(
            group='Tests',
            name='pytest',
            outcome=summary[-1] if summary else 'nothing printed',
            status='cut off' if process.poll() is None or process.returncode == -9 else process.returncode,
            traceback='' if reported else '\n'.join(summary[-60:]),
        )


PYTEST_PLUGIN = """
import json, os

def pytest_runtest_logreport(report):
    if "PYTEST_XDIST_WORKER" in os.environ or (report.when != "call" and report.outcome == "passed"):
        return
    row = {"name": report.nodeid.replace("tests/", ""), "outcome": report.outcome, "took": report.duration,
           **dict(report.user_properties)}
    if report.outcome == "failed":
        row["traceback"] = report.longreprtext[-6000:]
    if report.outcome == "skipped":
        row["reason"] = str(report.longrepr[-1] if isinstance(report.longrepr, tuple) else report.longrepr)
    with open(os.environ["GPU_ROWS"], "a") as file:
        file.write(json.dumps(row) + "\\n")
"""


def compile_beforehand(rows: Path, quick: bool, device: torch.device) -> None:
    """Compile networks for the other parts, which load them from torch's cache; append a row to a file for each."""
    os.nice(10)  # the tests have priority
    for name in WARMED:
        start = time.monotonic()
        row = {'name': name, 'outcome': 'compiled'}
        try:
            if name.startswith('train'):
                compile_training(name, quick, device)
            else:
                compile_inference(name, quick, device)
        except Exception:  # continue with the next network
            row |= {'outcome': 'failed', 'traceback': traceback.format_exc()[-6000:]}
        gc.collect()
        torch._dynamo.reset()
        with rows.open('a') as file:
            file.write(json.dumps({**row, 'took': time.monotonic() - start}) + '\n')


def compile_training(name: str, quick: bool, device: torch.device) -> None:
    """Compile a training iteration for the part --train, with the preset paper or fast."""
    setting = Setting(name.removeprefix('train '), quick, device)
    with float32_as(TF32, benchmark=False):
        stepper(setting.build(**BF16, compile=True), setting.batch)()


def compile_inference(name: str, quick: bool, device: torch.device) -> None:
    """Compile a network for the part --infer, the paper's network or the packaged network `general`."""
    from inference import make_generator

    from hifacegan_plugin.weights import PACKAGED, load_generator

    paper = name == 'infer paper'
    generator = make_generator(4 if quick else 64, 'paper') if paper else load_generator(PACKAGED['general'])
    generator = generator.to(device)
    small, large = (64, 128) if quick else (512, 2048)
    form = 'compiled fp16' if device.type == 'cuda' else 'compiled fp32'
    for count, size in ((1, small), (16, small), (1, large)):
        x = batch_of(count, size, device)['lq']
        with torch.inference_mode():
            contestant(form, generator, x)[0](x)
        torch._dynamo.reset()
