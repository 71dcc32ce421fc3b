"""The HTML page of a comparison: sortable tables, and pairs of images with a slider, in one file."""

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
from hifacegan_plugin.compare.folder import Folder, write_text
from hifacegan_plugin.compare.image_sets import ImageSet
from hifacegan_plugin.compare.methods import nearest
from hifacegan_plugin.compare.results import Figure, Results, Row, best_rows
from hifacegan_plugin.images.resizing import fit
from hifacegan_plugin.metrics.metric import Metric
from hifacegan_plugin.schema.comparison import DEGRADED, TRUTH, Page


def write_page(path: Path, results: Results, folder: Folder) -> None:
    """Write the page; it needs no other file and no network.

    Args:
        path: the HTML file.
        results: results to show; the option ``page`` limits the size of the file.
        folder: folder with the images.
    """
    comparison, tables_of_sets = results.comparison, results.tables
    labels = [*comparison.restorers, TRUTH]
    if not any(options.get('type') == 'input' for options in comparison.restorers.values()):
        labels.insert(0, DEGRADED)
    images = [image for test_set, rows in tables_of_sets for image in _images(test_set, rows, labels, results, folder)]
    # The page opens with the degraded image beside that of the last restorer.
    before = next((label for label, opt in comparison.restorers.items() if opt.get('type') == 'input'), DEGRADED)
    data = {'labels': labels, 'left': before, 'right': list(comparison.restorers)[-1], 'images': images}
    options = comparison.page
    kind = 'lossless WebP' if options.quality > 100 else f'WebP of quality {options.quality}'
    text = Template(resources.files(__package__).joinpath('page.html').read_text(encoding='utf-8')).substitute(
        title=html.escape(comparison.name),
        machine=html.escape('; '.join(results.machine.values()) + '.'),
        tables='\n'.join(_section(results, test_set, rows) for test_set, rows in tables_of_sets),
        notes=html.escape(' '.join(tables.notes(results))),
        problems=_list_of(results.left_out),
        image_note=html.escape(
            f'{len(images)} of {sum(len(test_set.images) for test_set, _ in tables_of_sets)} images, shown as '
            f'{kind}, at most {options.max_side} pixels a side; metrics were measured at full size. Drag the line, or '
            'select an image with Tab and move the line with the arrow keys.'
        ),
        data=json.dumps(data).replace('<', '\\u003c'),
    )
    write_text(path, text)


def _section(results: Results, test_set: ImageSet, rows: list[Row]) -> str:
    """Return the tables of a test set."""
    metrics, against = results.metrics, results.comparison.against
    title = f'{test_set.name}: {len(test_set.images)} images'
    of_metrics = [
        (tables.metric_header(metric), 'descending' if metric.better == 'higher' else 'ascending') for metric in metrics
    ]
    header = [
        ('restorer', 'ascending'),
        ('images', 'descending'),
        *of_metrics,
        *((cost, 'ascending') for cost in tables.COSTS),
    ]
    best = {metric.name: best_rows(rows, metric) for metric in metrics}
    shown = _table(title, header, [_row(metrics, row, best) for row in rows])
    shown += ''.join(f'<p class="note">{html.escape(line)}</p>' for line in tables.describe_inputs(rows))
    if against is not None:
        name = tables.difference_header(against)
        others = [_difference_row(metrics, row) for row in rows if row.label != against]
        shown += f'\n{_table(f"{title}, {name}", [(name, "ascending"), *of_metrics], others)}'
    return f'<section><h2>{html.escape(title)}</h2>\n{shown}</section>'


def _table(title: str, header: Sequence[tuple[str, str]], rows: Sequence[str]) -> str:
    """Return a sortable table.

    Args:
        title: title for screen readers.
        header: for each column, its name and the order of the first sort.
        rows: HTML of the rows.
    """
    columns = ''.join(
        f'<th scope="col" data-first="{order}"><button type="button">{html.escape(name)}</button></th>'
        for name, order in header
    )
    body = '\n'.join(rows)
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{html.escape(title)}"><table>\n'
        f'<thead><tr>{columns}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table></div>'
    )


def _row(metrics: Sequence[Metric], row: Row, best: dict[str, list[Row]]) -> str:
    cells = [_label(row), f'<td data-value="{row.restored}">{row.restored}/{row.images}</td>']
    cells += [
        _figure(row.figures.get(metric.name), tables.format_figure(row, metric), row in best[metric.name])
        for metric in metrics
    ]
    cells += [
        f'<td data-value="{"" if cost is None else cost}">{tables.format_cost(cost)}</td>'
        for cost in tables.costs_of(row)
    ]
    return f'<tr>{"".join(cells)}</tr>'


def _difference_row(metrics: Sequence[Metric], row: Row) -> str:
    cells = [_figure(row.differences.get(metric.name), *tables.format_difference(row, metric)) for metric in metrics]
    return f'<tr>{_label(row)}{"".join(cells)}</tr>'


def _label(row: Row) -> str:
    error = f'<div class="error">{html.escape(row.error)}</div>' if row.error else ''
    return f'<th scope="row" data-value="{html.escape(row.label)}">{html.escape(row.label)}{error}</th>'


def _figure(figure: Figure | None, text: str, bold: bool) -> str:
    mean, _, rest = text.partition(' ')
    value = '' if figure is None else repr(figure.mean)
    mark = ' class="best"' if bold else ''
    return f'<td data-value="{value}"{mark}>{mean}{f" <small>{rest}</small>" if rest else ""}</td>'


def _list_of(problems: list[str]) -> str:
    if not problems:
        return ''
    entries = ''.join(f'<li>{html.escape(problem)}</li>' for problem in problems)
    return f'<details open><summary>Left out ({len(problems)})</summary><ul>{entries}</ul></details>'


def _images(
    test_set: ImageSet, rows: list[Row], labels: list[str], results: Results, folder: Folder
) -> list[dict[str, Any]]:
    """Encode some evenly spaced images of a test set, as restored by each restorer."""
    page = results.comparison.page
    count = min(page.images, len(test_set.images))
    chosen = [test_set.images[i * len(test_set.images) // count] for i in range(count)]
    encoded = []
    for name in tqdm(chosen, desc=f'{test_set.name}: page', unit='image'):
        truth = folder.read_image(test_set.name, TRUTH, name)
        urls = {}
        for label in labels:
            if folder.image(test_set.name, label, name).exists():
                image = folder.read_image(test_set.name, label, name)
                urls[label] = _data_url(nearest(image, truth.shape[:2]), page)
        texts = {
            row.label: [
                f'{metric.title} {metric.format(row.values[metric.name][name])}'
                for metric in results.metrics
                if name in row.values[metric.name]
            ]
            for row in rows
        }
        height, width = _shown_size(truth, page)
        encoded.append(
            {'name': f'{test_set.name}: {name}', 'width': width, 'height': height, 'urls': urls, 'values': texts}
        )
    return encoded


def _shown_size(image: np.ndarray, page: Page) -> tuple[int, int]:
    shrink = min(1.0, page.max_side / max(image.shape[:2]))
    return max(1, round(image.shape[0] * shrink)), max(1, round(image.shape[1] * shrink))


def _data_url(image: np.ndarray, page: Page) -> str:
    """Encode an image, uint8 RGB ``(H, W, 3)``, as a data URL."""
    bgr = cv2.cvtColor(fit(image, *_shown_size(image, page)), cv2.COLOR_RGB2BGR)
    encoded = cv2.imencode('.webp', bgr, [cv2.IMWRITE_WEBP_QUALITY, page.quality])[1]
    return 'data:image/webp;base64,' + base64.b64encode(encoded.tobytes()).decode()
