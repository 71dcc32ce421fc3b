"""``hifacegan report``: what `basicsr.test` restored, beside what it was given, as a table and a picture sheet."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

SHEET_PICTURES = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument('-opt', required=True, metavar='FILE', help='options file that `basicsr.test` was run with')


def run(arguments: argparse.Namespace) -> int:
    """Print a table and write a sheet for each test set of the options file.

    Raises:
        SystemExit: the test was not run, or without saving its pictures; says so.
    """
    from basicsr.data import build_dataset
    from basicsr.utils.options import yaml_load

    from hifacegan_plugin import host

    host.register()
    opt = yaml_load(arguments.opt)
    results = Path(opt['path'].get('results_root') or 'results') / opt['name']
    for phase, dataset_opt in opt['datasets'].items():
        dataset = build_dataset({**dataset_opt, 'phase': phase.split('_')[0], 'scale': opt.get('scale', 1)})
        table, sheet = _report(dataset, results / 'visualization' / dataset_opt['name'], opt)
        sheet_file = results / f'{dataset_opt["name"]}_degraded_restored_truth.png'
        cv2.imwrite(str(sheet_file), sheet)
        print(f'\n{table}\n\nPictures, degraded | restored | truth: {sheet_file}')
    return 0


def _report(dataset: Any, folder: Path, opt: dict[str, Any]) -> tuple[str, np.ndarray]:
    """Measure the degraded and the restored pictures of a test set against the truth, and draw the first of them."""
    from basicsr.utils import tensor2img

    from hifacegan_plugin.metrics.measure import Meter

    suffix = opt['val'].get('suffix') or opt['name']
    meter = Meter(opt['val']['metrics'])
    measurements: dict[str, list] = {'degraded': [], 'restored': []}
    rows = []
    for item in tqdm(dataset, desc='measure', unit='picture', total=len(dataset)):
        name = Path(item['lq_path']).stem
        truth, degraded = tensor2img(item['gt']), tensor2img(item['lq'])
        if degraded.shape != truth.shape:
            degraded = cv2.resize(degraded, truth.shape[1::-1], interpolation=cv2.INTER_CUBIC)
        restored = cv2.imread(str(folder / f'{name}_{suffix}.png'))
        if restored is None:
            raise SystemExit(
                f'{folder}/{name}_{suffix}.png is missing: run `python -m basicsr.test -opt ...` with this options '
                'file first, with val: save_img: true.'
            )
        measurements['degraded'].append(meter.measure(name, degraded, truth))
        measurements['restored'].append(meter.measure(name, restored, truth))
        if len(rows) < SHEET_PICTURES:
            rows.append(np.hstack([degraded, restored, truth]))
    summaries = {side: meter.summarise(measured) for side, measured in measurements.items()}
    return _table(f'{dataset.opt["name"]}, {len(dataset)} pictures', summaries), _stack(rows)


def _table(title: str, summaries: dict[str, dict[str, float]]) -> str:
    """Lay the figures out as Markdown, a metric a line."""
    from hifacegan_plugin.compare.tables import markdown_table

    metrics = next(iter(summaries.values()))
    rows = [[metric, *(f'{figures[metric]:.4f}' for figures in summaries.values())] for metric in metrics]
    return markdown_table([title, *summaries], rows)


def _stack(rows: list[np.ndarray]) -> np.ndarray:
    """Lay rows of different widths below each other, on white."""
    width = max(row.shape[1] for row in rows)
    padded = [cv2.copyMakeBorder(r, 0, 4, 0, width - r.shape[1], cv2.BORDER_CONSTANT, value=(255,) * 3) for r in rows]
    return np.vstack(padded)
