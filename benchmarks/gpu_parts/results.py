"""The results of a part, written to JSON and Markdown files after each measurement."""

from __future__ import annotations

import gc
import json
import os
import platform
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from hifacegan_plugin.system.files import whole_file

REPOSITORY = Path(__file__).resolve().parents[2]
FAILED = ('failed', 'cut off')  # outcomes of tests
HIDDEN = ('group', 'traceback', 'kernels')  # only in JSON


class Results:
    """The results of a part, written to files after each measurement."""

    def __init__(self, part: str, folder: Path, limit: float, device: torch.device) -> None:
        self.part, self.folder = part, folder
        self.deadline = time.monotonic() + limit
        self.device = device
        self.rows: list[dict[str, Any]] = []
        self.environment = describe(device)
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, **row: Any) -> dict[str, Any]:
        """Add a row and write the files."""
        self.rows.append(row)
        everything = {'part': self.part, 'environment': self.environment, 'rows': self.rows}
        for suffix, text in (('json', json.dumps(everything, indent=1, default=str)), ('md', self.as_markdown())):
            with whole_file(self.folder / f'gpu-{self.part}.{suffix}') as draft:
                draft.write_text(text, encoding='utf-8')
        printed = {key: value for key, value in row.items() if key not in HIDDEN}
        print(f'[{row["group"]}]', ', '.join(f'{key} {shown(value)}' for key, value in printed.items()), flush=True)
        return row

    def measure(self, group: str, name: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Run a measurement and add its result or error; free the memory of the device afterwards."""
        if time.monotonic() > self.deadline:
            return self.add(group=group, name=name, error='not measured: no time left')
        start = time.monotonic()
        try:
            figures = work()
        except Exception as error:  # record it and continue with the next measurement
            figures = {
                'error': f'{type(error).__name__}: {error}'.partition('\n')[0][:200],
                'traceback': traceback.format_exc(),
            }
        gc.collect()
        torch._dynamo.reset()
        if self.device.type == 'cuda':
            torch.cuda.empty_cache()
        return self.add(group=group, name=name, **figures, took=time.monotonic() - start)

    def status(self) -> int:
        """Return the exit status: 1 if a measurement or a test failed, was cut off or was skipped for lack of time."""
        return int(any('error' in row or row.get('outcome') in FAILED or row.get('status') for row in self.rows))

    def as_markdown(self) -> str:
        """Return a table for each group, with a column for each key of its rows."""
        lines = [
            f'# {self.part}: {self.environment["device"]}',
            '',
            ', '.join(f'{key} {value}' for key, value in self.environment.items()),
        ]
        for group in dict.fromkeys(row['group'] for row in self.rows):
            rows = [row for row in self.rows if row['group'] == group]
            columns = list(dict.fromkeys(key for row in rows for key in row if key not in HIDDEN))
            lines += ['', f'## {group}', '', f'| {" | ".join(columns)} |', f'|{"---|" * len(columns)}']
            lines += [f'| {" | ".join(shown(row.get(column, "")) for column in columns)} |' for row in rows]
        return '\n'.join(lines) + '\n'


def shown(value: Any) -> str:
    """Format a float with four digits, and anything else so that it fits into a table cell."""
    return f'{value:.4g}' if isinstance(value, float) else str(value).replace('\n', ' ').replace('|', '/')


def describe(device: torch.device) -> dict[str, Any]:
    """Return a description of the device and the software."""
    about = {
        'device': platform.processor() or platform.machine(),
        'torch': torch.__version__,
        'python': platform.python_version(),
        'cores': os.cpu_count(),
        'date': time.strftime('%Y-%m-%d'),
    }
    if device.type == 'cuda':
        properties = torch.cuda.get_device_properties(device)
        about |= {
            'device': properties.name,
            'GiB': round(properties.total_memory / 2**30, 1),
            'CUDA': torch.version.cuda,
            'cuDNN': torch.backends.cudnn.version(),
        }
    return about
