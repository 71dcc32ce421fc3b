"""``hifacegan report``: what `basicsr.test` restored, beside what it was given, as a table and a picture sheet."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from hifacegan_plugin.schema.file import problems_of_file
from hifacegan_plugin.schema.reading import read_options
from hifacegan_plugin.system.files import whole_file

SHEET_PICTURES = 8
COLUMNS = ('degraded', 'restored', 'truth')  # of a sheet; where the truth is not known, the last is missing


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument('-opt', required=True, type=Path, metavar='FILE',
                        help='options file that `basicsr.test` was run with')


def run(arguments: argparse.Namespace) -> int:
    """Print a table and write a sheet for each test set of the options file; 0: all went well, 2: something did not."""
    from hifacegan_plugin import host

    host.register()
    try:
        report(_read_options(arguments.opt))
    except (ValueError, OSError) as error:
        print(f'hifacegan report: {error}', file=sys.stderr)
        return 2
    return 0


def report(opt: dict[str, Any]) -> None:
    """Print a table and write a sheet for each test set.

    Raises:
        ValueError, OSError: there are no pictures, the test was not run, or without saving its pictures; or the sheet
            cannot be written.
    """
    from basicsr.data import build_dataset

    results = Path(opt['path'].get('results_root') or 'results') / opt['name']
    for phase, dataset_opt in opt['datasets'].items():
        dataset = build_dataset({**dataset_opt, 'phase': phase.split('_')[0], 'scale': opt.get('scale', 1)})
        table, rows = _report(dataset, results / 'visualization' / dataset_opt['name'], opt)
        print(f'\n{table}\n')
        columns = COLUMNS[: len(rows[0])]
        sheet_file = results / f'{dataset_opt["name"]}_{"_".join(columns)}.png'
        _write(sheet_file, _stack([np.hstack(row) for row in rows]))
        print(f'Pictures, {" | ".join(columns)}: {sheet_file}')


def _read_options(file: Path) -> dict[str, Any]:
    """Read the options.

    Raises:
        ValueError: they cannot be read, or are none that the host could have run.
    """
    opt, _, problems = read_options(file)
    if not opt:
        raise ValueError(f'{problems[0].what} ({problems[0].fix})')
    for what, fix, stops in problems_of_file(opt):
        if stops:
            raise ValueError(f'{file}: {what} ({fix})')
    return opt


def _report(dataset: Any, folder: Path, opt: dict[str, Any]) -> tuple[str, list[list[np.ndarray]]]:
    """Measure the degraded and the restored pictures of a test set, and give the table and the first of them.

    Returns:
        Markdown, and for each picture what stands in :data:`COLUMNS`, uint8 BGR ``(H, W, 3)``.

    Raises:
        ValueError: there are no pictures, or not all were restored.
    """
    from basicsr.utils import tensor2img

    from hifacegan_plugin.images.sources import name_to_save
    from hifacegan_plugin.metrics.measure import Meter

    suffix = opt['val'].get('suffix') or opt['name']
    meter = Meter(opt['val'].get('metrics') or {})
    measurements: dict[str, list] = {'degraded': [], 'restored': []}
    rows = []
    for item in tqdm(dataset, desc='measure', unit='picture', total=len(dataset)):
        name = name_to_save(item)
        truth, degraded = tensor2img(item['gt']) if 'gt' in item else None, tensor2img(item['lq'])
        restored = cv2.imread(str(folder / f'{name}_{suffix}.png'), cv2.IMREAD_UNCHANGED)
        if restored is None:
            raise ValueError(
                f'{folder}/{name}_{suffix}.png is missing: run `python -m basicsr.test -opt ...` with this options '
                'file first, with val: save_img: true.'
            )
        truth, degraded = (_with_channels_of(restored, image) for image in (truth, degraded))
        if degraded.shape != restored.shape:
            degraded = cv2.resize(degraded, restored.shape[1::-1], interpolation=cv2.INTER_CUBIC)
        measurements['degraded'].append(meter.measure(name, degraded, truth))
        measurements['restored'].append(meter.measure(name, restored, truth))
        if len(rows) < SHEET_PICTURES:
            images = [degraded, restored] if truth is None else [degraded, restored, truth]
            rows.append([cv2.cvtColor(image, cv2.COLOR_GRAY2BGR) if image.ndim == 2 else image for image in images])
    if not rows:
        raise ValueError(f'{dataset.opt["name"]}: no pictures in this test set; correct its dataroot')
    summaries = {side: meter.summarise(measured) for side, measured in measurements.items()}
    return _table(f'{dataset.opt["name"]}, {len(dataset)} pictures', summaries), rows


def _with_channels_of(restored: np.ndarray, image: np.ndarray | None) -> np.ndarray | None:
    """Turn an image, BGR ``(H, W, 3)`` or grey ``(H, W)``, into what the network gave, as its training did."""
    if image is None or image.ndim == restored.ndim:
        return image
    return cv2.cvtColor(image, cv2.COLOR_BGR2GRAY if restored.ndim == 2 else cv2.COLOR_GRAY2BGR)


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


def _write(path: Path, sheet: np.ndarray) -> None:
    try:
        with whole_file(path) as part:
            part.write_bytes(cv2.imencode('.png', sheet)[1].tobytes())
    except OSError as error:
        raise OSError(f'{path} cannot be written ({error.strerror})') from error
