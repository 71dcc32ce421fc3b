"""``hifacegan report``: a table of metrics and a contact sheet of the images that ``basicsr.test`` restored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from basicsr.data import build_dataset
from basicsr.utils import tensor2img
from tqdm import tqdm

from hifacegan_plugin.compare.tables import markdown_table, metric_header
from hifacegan_plugin.images.sheets import draw_sheet
from hifacegan_plugin.images.sources import name_to_save
from hifacegan_plugin.images.writing import write_png
from hifacegan_plugin.metrics.building import build_metrics
from hifacegan_plugin.metrics.metric import NAMED_AT_MOST, Metric
from hifacegan_plugin.schema.problem import errors_of_data_set

IMAGES_IN_SHEET = 8
COLUMNS = ('degraded', 'restored', 'truth')  # of a sheet; 'truth' only if there is ground truth
MEASURED = COLUMNS[:2]

Images = list[np.ndarray]  # in the order of COLUMNS, uint8 BGR (H, W, 3) or grey (H, W)


def report(opt: dict[str, Any]) -> None:
    """Print a table and write a contact sheet for each test set.

    Args:
        opt: options of the run of ``basicsr.test``.

    Raises:
        ValueError: a data set cannot be built or is empty, or not all of its images were restored and saved.
        OSError: a sheet cannot be written.
    """
    results = Path(opt['path'].get('results_root') or 'results') / opt['name']
    suffix = opt['val'].get('suffix') or opt['name']
    for phase, dataset_opt in opt['datasets'].items():
        with errors_of_data_set(f'datasets: {phase}', dataset_opt['type']):
            dataset = build_dataset({**dataset_opt, 'phase': phase.split('_')[0], 'scale': opt.get('scale', 1)})
        name = dataset_opt['name']
        metrics = {side: build_metrics(opt['val'].get('metrics')) for side in MEASURED}
        rows = _measure(dataset, results / 'visualization' / name, suffix, metrics)
        print(f'\n{_table(f"{name}, {len(dataset)} images", metrics)}\n')
        columns = COLUMNS[: len(rows[0])]
        sheet = draw_sheet([('', image) for image in row] for row in rows)
        sheet_file = results / f'{name}_{"_".join(columns)}.png'
        write_png(sheet_file, cv2.cvtColor(sheet, cv2.COLOR_BGR2RGB))
        print(f'Images, {" | ".join(columns)}: {sheet_file}')


def _measure(dataset: Any, folder: Path, suffix: str, metrics: dict[str, list[Metric]]) -> list[Images]:
    """Measure the degraded and the restored images of a test set, and return the first ones for the sheet.

    Raises:
        ValueError: the test set is empty, or not all of its images were restored.
    """
    rows: list[Images] = []
    for item in tqdm(dataset, desc='measure', unit='image', total=len(dataset)):
        name = name_to_save(item)
        file = folder / f'{name}_{suffix}.png'
        restored = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
        if restored is None:
            raise ValueError(
                f'{file} is missing: run `python -m basicsr.test -opt ...` with this options file first, '
                'with val: save_img: true.'
            )
        images = [_match_channels(restored, tensor2img(item['lq'])), restored]
        if images[0].shape != restored.shape:
            images[0] = cv2.resize(images[0], restored.shape[1::-1], interpolation=cv2.INTER_CUBIC)
        truth = _match_channels(restored, tensor2img(item['gt'])) if 'gt' in item else None
        for side, image in zip(MEASURED, images):
            for metric in metrics[side]:
                metric.update(name, image, truth)
        if len(rows) < IMAGES_IN_SHEET:
            rows.append(images if truth is None else [*images, truth])
    if not rows:
        raise ValueError(f'{dataset.opt["name"]}: no images in this test set; correct its dataroot')
    return rows


def _match_channels(restored: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Return an image, BGR ``(H, W, 3)`` or grey ``(H, W)``, with the channels of the network's output."""
    if image.ndim == restored.ndim:
        return image
    return cv2.cvtColor(image, cv2.COLOR_BGR2GRAY if restored.ndim == 2 else cv2.COLOR_GRAY2BGR)


def _table(title: str, metrics: Mapping[str, Sequence[Metric]]) -> str:
    """Return a Markdown table with one metric per line, followed by notes on what could not be measured."""
    rows, notes = [], []
    for sides in zip(*metrics.values()):
        metric = sides[0]
        if metric.unavailable:
            notes.append(f'{metric.name} is left out: {metric.unavailable}')
            continue
        rows.append([metric_header(metric), *(each.format(each.compute()) for each in sides)])
        notes += [
            f'{side}: {line}' for side, each in zip(metrics, sides) for line in each.describe_unmeasured(NAMED_AT_MOST)
        ]
    return '\n\n'.join([markdown_table([title, *metrics], rows), *notes])
