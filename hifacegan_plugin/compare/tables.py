"""Format results as Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from hifacegan_plugin.compare.results import Figure, Results, Row, best_rows
from hifacegan_plugin.metrics.metric import Metric

NOTES = (
    'Metrics are means over the images with 95 % bootstrap confidence intervals. The intervals are too narrow for few '
    'images: they cover the true mean in about 85 of 100 cases with six images, and in 94 with fifty. '
    'Bold: best of the restorers with a value for every image that can be measured. '
    'GFLOP: 10^9 operations of convolutions, matrix products and normalisations; a multiply-add is two. '
    'Time: median per image, after a warm-up, from 8-bit image to 8-bit image. '
    'Memory: peak during restoration, with weights, above that of the process at its start. '
    'Every restorer ran alone, in its own process.'
)
DIFFERENCE_NOTES = (
    'Differences are computed image by image; the tables show their means over the images measured for both restorers, '
    'with 95 % confidence intervals (bias-corrected and accelerated bootstrap). Bold: the interval excludes 0.'
)
COSTS = ('parameters / M', 'GFLOP', 'ms / image', 'memory / MiB')
ABSENT = '–'


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table with padded columns; the first is aligned left, the others right."""
    widths = [max(map(len, column)) for column in zip(header, *rows)]

    def line(cells: Sequence[str]) -> str:
        return '| ' + ' | '.join([cells[0].ljust(widths[0]), *map(str.rjust, cells[1:], widths[1:])]) + ' |'

    rule = '|' + '-' * (widths[0] + 2) + ''.join('|' + '-' * (width + 1) + ':' for width in widths[1:]) + '|'
    return '\n'.join([line(header), rule, *map(line, rows)])


def comparison_table(metrics: Sequence[Metric], rows: Sequence[Row]) -> str:
    """Return the rows of a test set as a Markdown table."""
    best = {metric.name: best_rows(rows, metric) for metric in metrics}

    def cells(row: Row) -> list[str]:
        figures = [(metric.name, format_figure(row, metric)) for metric in metrics]
        bold = [f'**{text}**' if row in best[name] else text for name, text in figures]
        return [row.label, f'{row.restored}/{row.images}', *bold, *map(format_cost, costs_of(row))]

    return markdown_table(['restorer', 'images', *map(metric_header, metrics), *COSTS], list(map(cells, rows)))


def difference_table(metrics: Sequence[Metric], rows: Sequence[Row], against: str) -> str:
    """Return the differences of a test set's rows from the restorer ``against`` as a Markdown table."""
    lines = []
    for row in rows:
        if row.label != against:
            cells = [format_difference(row, metric) for metric in metrics]
            lines.append([row.label, *(f'**{text}**' if differs else text for text, differs in cells)])
    return markdown_table([difference_header(against), *map(metric_header, metrics)], lines)


def difference_header(against: str) -> str:
    """Return the header of the first column of a table of differences."""
    return f'difference from {against}'


def metric_header(metric: Metric) -> str:
    """Return the name of a metric with its unit, and an arrow that shows whether higher or lower is better."""
    return f'{metric.title}{metric.unit and f" / {metric.unit}"} {"↑" if metric.better == "higher" else "↓"}'


def format_figure(row: Row, metric: Metric) -> str:
    """Return mean and confidence interval, and the number of measured images if some are missing."""
    figure = row.figures.get(metric.name)
    if figure is None:
        return ABSENT
    interval = '' if math.isnan(figure.low) else f' [{metric.format(figure.low)}, {metric.format(figure.high)}]'
    missing = '' if figure.images == row.images else f' ({figure.images} of {row.images})'
    return metric.format(figure.mean) + interval + missing


def format_difference(row: Row, metric: Metric) -> tuple[str, bool]:
    """Return a mean difference with its confidence interval, and whether the interval excludes 0."""
    figure = row.differences.get(metric.name)
    if figure is None:
        return ABSENT, False
    mean, low, high = ('+' * (value >= 0) + metric.format(value) for value in (figure.mean, figure.low, figure.high))
    interval = '' if math.isnan(figure.low) else f' [{low}, {high}]'
    missing = '' if figure.images == row.images else f' ({figure.images} of {row.images})'
    return mean + interval + missing, figure.low > 0 or figure.high < 0


def costs_of(row: Row) -> list[float | None]:
    """Return the values of the columns :data:`COSTS`."""
    return [None if row.parameters is None else row.parameters / 1e6, row.gflop, row.milliseconds, row.peak_mib]


def format_cost(cost: float | None) -> str:
    """Format to four significant digits, with all digits before the decimal point and at most four after it."""
    if not cost:
        return ABSENT if cost is None else '0'
    places = min(4, max(0, 3 - math.floor(math.log10(abs(cost)))))
    return f'{cost:.{places}f}'


def markdown_report(results: Results) -> str:
    """Return the whole comparison as Markdown."""
    parts = [f'# {results.comparison.name}', '; '.join(results.machine.values()) + '.']
    for test_set, rows in results.tables:
        parts += [f'## {test_set.name}: {len(test_set.images)} images', *tables_of(results, rows)]
    parts += notes(results)
    if results.left_out:
        parts += [f'## Left out ({len(results.left_out)})', '\n'.join(f'- {line}' for line in results.left_out)]
    return '\n\n'.join(parts) + '\n'


def tables_of(results: Results, rows: Sequence[Row]) -> list[str]:
    """Return the Markdown tables of a test set, and the inputs for which operations were counted."""
    against = results.comparison.against
    differences = [] if against is None else [difference_table(results.metrics, rows, against)]
    return [comparison_table(results.metrics, rows), *describe_inputs(rows), *differences]


def notes(results: Results) -> list[str]:
    """Return notes that explain the tables."""
    return [NOTES] if results.comparison.against is None else [NOTES, DIFFERENCE_NOTES]


def describe_inputs(rows: Sequence[Row]) -> list[str]:
    """Return a line for each size of input for which operations were counted."""
    sizes: dict[tuple[int, ...], list[str]] = {}
    for row in rows:
        if row.gflop_input:
            sizes.setdefault(tuple(row.gflop_input), []).append(row.label)
    return [
        f'GFLOP for an input of {width}x{height} pixels: {", ".join(labels)}.'
        for (height, width), labels in sizes.items()
    ]


def csv_report(results: Results) -> str:
    """Return a CSV file with a line for each restorer and test set, and four columns for each metric."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    parts = ('mean', 'low', 'high', 'images')  # fields of Figure
    of_metrics = [f'{metric.name}_{part}' for metric in results.metrics for part in parts]
    costs = ('parameters', 'gflop', 'gflop_input', 'milliseconds', 'peak_mib', 'error')
    writer.writerow(['test_set', 'restorer', 'restored', 'images', *of_metrics, *costs])
    nothing = Figure(math.nan, math.nan, math.nan, 0)
    for test_set, rows in results.tables:
        for row in rows:
            found = [row.figures.get(metric.name, nothing) for metric in results.metrics]
            figures = [_or_none(getattr(figure, part)) for figure in found for part in parts]
            described = asdict(row) | {'gflop_input': 'x'.join(map(str, row.gflop_input or ()))}
            writer.writerow(
                [test_set.name, row.label, row.restored, row.images, *figures, *(described[cost] for cost in costs)]
            )
    return text.getvalue()


def json_report(results: Results) -> dict[str, Any]:
    """Return all options and results in types of JSON; NaN and infinity become None."""
    return _plain(
        {
            'name': results.comparison.name,
            'machine': results.machine,
            'options': {**vars(results.comparison), 'page': results.comparison.page.model_dump()},
            'test_sets': [{**asdict(test_set), 'rows': list(map(asdict, rows))} for test_set, rows in results.tables],
            'problems': results.left_out,
        }
    )


def _plain(content: Any) -> Any:
    if isinstance(content, dict):
        return {str(key): _plain(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return list(map(_plain, content))
    return _or_none(content)


def _or_none(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
