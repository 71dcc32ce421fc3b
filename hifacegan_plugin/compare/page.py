"""One self-contained HTML page: the tables, to sort, and the pictures, two at a time under a slider."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from hifacegan_plugin.compare import tables
from hifacegan_plugin.compare.comparison import DEGRADED, TRUTH, Comparison, PageOptions
from hifacegan_plugin.compare.folder import Folder, read_rgb, write_text
from hifacegan_plugin.compare.restorers import as_it_is
from hifacegan_plugin.compare.results import Row, best_rows
from hifacegan_plugin.compare.test_sets import PictureSet
from hifacegan_plugin.images.resizing import fit


def write_page(
    path: Path,
    comparison: Comparison,
    report: Sequence[tuple[PictureSet, list[Row]]],
    machine: dict[str, str],
    problems: list[str],
    folder: Folder,
) -> None:
    """Write the page; it needs no other file and no network.

    Args:
        path: of the page.
        comparison: the options; ``page`` bounds the size.
        report: the rows of each test set.
        machine: where and when the figures were measured.
        problems: what was left out, a line each.
        folder: where the pictures lie.
    """
    labels = [*comparison.restorers, TRUTH]
    if not any(options.get('type') == 'input' for options in comparison.restorers.values()):
        labels.insert(0, DEGRADED)
    pictures = [picture for test_set, rows in report
                for picture in _pictures(test_set, rows, labels, comparison, folder)]
    # To begin with: the degraded picture beside what the last restorer made of it.
    before = next((label for label, opt in comparison.restorers.items() if opt.get('type') == 'input'), DEGRADED)
    data = {'labels': labels, 'left': before, 'right': list(comparison.restorers)[-1], 'pictures': pictures}
    options = comparison.page
    kind = 'lossless WebP' if options.quality > 100 else f'WebP of quality {options.quality}'
    text = Template(resources.files(__package__).joinpath('page.html').read_text(encoding='utf-8')).substitute(
        title=html.escape(comparison.name),
        machine=html.escape('; '.join(machine.values()) + '.'),
        tables='\n'.join(_section(comparison, test_set, rows) for test_set, rows in report),
        notes=html.escape(tables.NOTES.replace('bold:', 'in bold type:')),
        problems=_list_of(problems),
        picture_note=html.escape(
            f'{len(pictures)} of {sum(len(test_set.pictures) for test_set, _ in report)} pictures, shown as {kind}, at '
            f'most {options.max_side} pixels a side; the figures are of the pictures as they are. Drag the line, or go '
            'to a picture with Tab and move it with the arrow keys.'),
        data=json.dumps(data).replace('<', '\\u003c'),
    )
    write_text(path, text)


def _section(comparison: Comparison, test_set: PictureSet, rows: list[Row]) -> str:
    """Write the table of a test set."""
    title = f'{test_set.name}: {len(test_set.pictures)} pictures'
    first = ['ascending', 'descending', *('descending' if comparison.higher_is_better(m) else 'ascending'
                                          for m in comparison.metrics), *('ascending' for _ in tables.COSTS)]
    names = ['restorer', 'pictures', *tables.metric_headers(comparison), *tables.COSTS]
    header = ''.join(f'<th scope="col" data-first="{order}"><button type="button">{html.escape(name)}</button></th>'
                     for order, name in zip(first, names))
    best = {metric: best_rows(rows, metric, comparison.higher_is_better(metric)) for metric in comparison.metrics}
    body = '\n'.join(_row(comparison, row, best) for row in rows)
    inputs = ''.join(f'<p class="note">{html.escape(line)}</p>' for line in tables.describe_inputs(rows))
    return (f'<section><h2>{html.escape(title)}</h2>\n<div class="scroll" role="region" tabindex="0" '
            f'aria-label="{html.escape(title)}"><table>\n<thead><tr>{header}</tr></thead>\n<tbody>\n{body}\n</tbody>\n'
            f'</table></div>{inputs}</section>')


def _row(comparison: Comparison, row: Row, best: dict[str, list[Row]]) -> str:
    error = f'<div class="error">{html.escape(row.error)}</div>' if row.error else ''
    cells = [f'<th scope="row" data-value="{html.escape(row.label)}">{html.escape(row.label)}{error}</th>',
             f'<td data-value="{row.restored}">{row.restored}/{row.pictures}</td>']
    for metric in comparison.metrics:
        mean, _, rest = tables.format_figure(row, metric).partition(' ')
        value = repr(row.figures[metric].mean) if metric in row.figures else ''
        mark = ' class="best"' if row in best[metric] else ''
        cells.append(f'<td data-value="{value}"{mark}>{mean}{f" <small>{rest}</small>" if rest else ""}</td>')
    costs = (row.parameters, row.gflop, row.milliseconds, row.peak_mib)
    cells += [f'<td data-value="{"" if cost is None else cost}">{text}</td>'
              for cost, text in zip(costs, tables.format_costs(row))]
    return f'<tr>{"".join(cells)}</tr>'


def _list_of(problems: list[str]) -> str:
    if not problems:
        return ''
    entries = ''.join(f'<li>{html.escape(problem)}</li>' for problem in problems)
    return f'<details open><summary>Left out ({len(problems)})</summary><ul>{entries}</ul></details>'


def _pictures(
    test_set: PictureSet, rows: list[Row], labels: list[str], comparison: Comparison, folder: Folder
) -> list[dict[str, Any]]:
    """Encode some pictures of a test set, spread over it, as each restorer left them."""
    count = min(comparison.page.pictures, len(test_set.pictures))
    chosen = [test_set.pictures[i * len(test_set.pictures) // count] for i in range(count)]
    figures = {row.label: row.values for row in rows}
    encoded = []
    for name in tqdm(chosen, desc=f'{test_set.name}: page', unit='picture'):
        truth = read_rgb(folder.picture(test_set.name, TRUTH, name))
        images = {}
        for label in labels:
            file = folder.picture(test_set.name, label, name)
            if file.exists():
                images[label] = _data_url(as_it_is(read_rgb(file), truth.shape[:2]), comparison.page)
        texts = {label: [f'{metric} {tables.digits(values[metric][name])}' for metric in comparison.metrics
                         if name in values[metric]] for label, values in figures.items()}
        height, width = _shown_size(truth, comparison.page)
        encoded.append({'name': f'{test_set.name}: {name}', 'width': width, 'height': height, 'images': images,
                        'figures': texts})
    return encoded


def _shown_size(image: np.ndarray, page: PageOptions) -> tuple[int, int]:
    shrink = min(1.0, page.max_side / max(image.shape[:2]))
    return max(1, round(image.shape[0] * shrink)), max(1, round(image.shape[1] * shrink))


def _data_url(image: np.ndarray, page: PageOptions) -> str:
    """Encode a picture, uint8 RGB ``(H, W, 3)``, as a data URL."""
    bgr = cv2.cvtColor(fit(image, *_shown_size(image, page)), cv2.COLOR_RGB2BGR)
    encoded = cv2.imencode('.webp', bgr, [cv2.IMWRITE_WEBP_QUALITY, page.quality])[1]
    return 'data:image/webp;base64,' + base64.b64encode(encoded).decode()
