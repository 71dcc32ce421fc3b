"""Rows as Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from hifacegan_plugin.compare.comparison import Comparison
from hifacegan_plugin.compare.results import Figure, Row, best_rows
from hifacegan_plugin.compare.test_sets import PictureSet

NOTES = (
    'Means over the pictures with their 95 % bootstrap interval, which is too narrow where pictures are few: it holds '
    'the mean over all such pictures in about 85 of 100 cases with six and in 94 with fifty; '
    'bold: best of those measured on all pictures that any was measured on. '
    'GFLOP: 10^9 operations of convolutions, matrix products and normalisations, a multiply-add being two. '
    'Time: median of a picture, after a warm-up, from 8-bit picture to 8-bit picture. '
    'Memory: peak while restoring, weights included, beyond what the process took before. '
    'Every restorer ran alone, in a process of its own.'
)
COSTS = ('parameters / M', 'GFLOP', 'ms / picture', 'memory / MiB')
ABSENT = '–'


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay a table out as Markdown that is readable as it is; the first column flush left, the others right."""
    widths = [max(map(len, column)) for column in zip(header, *rows)]

    def line(cells: Sequence[str]) -> str:
        return '| ' + ' | '.join([cells[0].ljust(widths[0]), *map(str.rjust, cells[1:], widths[1:])]) + ' |'

    rule = '|' + '-' * (widths[0] + 2) + ''.join('|' + '-' * (width + 1) + ':' for width in widths[1:]) + '|'
    return '\n'.join([line(header), rule, *map(line, rows)])


def comparison_table(comparison: Comparison, rows: Sequence[Row]) -> str:
    """Lay out the rows of a test set as Markdown."""
    best = {metric: best_rows(rows, metric, comparison.higher_is_better(metric)) for metric in comparison.metrics}

    def cells(row: Row) -> list[str]:
        figures = [format_figure(row, metric) for metric in comparison.metrics]
        bold = [f'**{text}**' if row in best[metric] else text for metric, text in zip(comparison.metrics, figures)]
        return [row.label, f'{row.restored}/{row.pictures}', *bold, *format_costs(row)]

    return markdown_table(['restorer', 'pictures', *metric_headers(comparison), *COSTS], list(map(cells, rows)))


def metric_headers(comparison: Comparison) -> list[str]:
    """Name the metrics, with an arrow towards the better."""
    return [f'{metric} {"↑" if comparison.higher_is_better(metric) else "↓"}' for metric in comparison.metrics]


def format_figure(row: Row, metric: str) -> str:
    """Write mean and interval, and of how many pictures, where some are missing."""
    figure = row.figures.get(metric)
    if figure is None:
        return ABSENT
    interval = '' if math.isnan(figure.low) else f' [{digits(figure.low)}, {digits(figure.high)}]'
    missing = '' if figure.pictures == row.pictures else f' ({figure.pictures} of {row.pictures})'
    return digits(figure.mean) + interval + missing


def format_costs(row: Row) -> list[str]:
    """Write parameters, operations, time and memory."""
    parameters = None if row.parameters is None else row.parameters / 1e6
    costs = (parameters, row.gflop, row.milliseconds, row.peak_mib)
    return [ABSENT if cost is None else digits(cost) if cost else '0' for cost in costs]


def markdown_report(
    comparison: Comparison, tables: Sequence[tuple[PictureSet, list[Row]]], machine: dict[str, str], problems: list[str]
) -> str:
    """Write the whole comparison as Markdown."""
    parts = [f'# {comparison.name}', '; '.join(machine.values()) + '.']
    for test_set, rows in tables:
        parts += [f'## {test_set.name}: {len(test_set.pictures)} pictures', comparison_table(comparison, rows)]
        parts += describe_inputs(rows)
    parts.append(NOTES)
    if problems:
        parts += [f'## Left out ({len(problems)})', '\n'.join(f'- {problem}' for problem in problems)]
    return '\n\n'.join(parts) + '\n'


def describe_inputs(rows: Sequence[Row]) -> list[str]:
    """Say which input the operations are counted for: one line for each size, none where there is no network."""
    sizes: dict[tuple[int, ...], list[str]] = {}
    for row in rows:
        if row.gflop_input:
            sizes.setdefault(tuple(row.gflop_input), []).append(row.label)
    return [f'GFLOP for an input of {width}x{height} pixels: {", ".join(labels)}.'
            for (height, width), labels in sizes.items()]


def csv_report(comparison: Comparison, tables: Sequence[tuple[PictureSet, list[Row]]]) -> str:
    """Write a line for each restorer and test set; a metric takes four columns."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    statistics = ('mean', 'low', 'high', 'pictures')
    writer.writerow(['test_set', 'restorer', 'restored', 'pictures',
                     *(f'{metric}_{name}' for metric in comparison.metrics for name in statistics),
                     'parameters', 'gflop', 'gflop_input', 'milliseconds', 'peak_mib', 'error'])
    nothing = Figure(math.nan, math.nan, math.nan, 0)
    for test_set, rows in tables:
        for row in rows:
            figures = [row.figures.get(metric, nothing) for metric in comparison.metrics]
            writer.writerow([
                test_set.name, row.label, row.restored, row.pictures,
                *(_or_none(getattr(figure, name)) for figure in figures for name in statistics),
                row.parameters, row.gflop, 'x'.join(map(str, row.gflop_input or ())), row.milliseconds, row.peak_mib,
                row.error,
            ])
    return text.getvalue()


def json_report(
    comparison: Comparison, tables: Sequence[tuple[PictureSet, list[Row]]], machine: dict[str, str], problems: list[str]
) -> dict[str, Any]:
    """Give everything that is known, in types of JSON; NaN is null."""
    return _plain({
        'name': comparison.name,
        'machine': machine,
        'options': asdict(comparison),
        'test_sets': [{**asdict(test_set), 'rows': list(map(asdict, rows))} for test_set, rows in tables],
        'problems': problems,
    })


def digits(value: float) -> str:
    """Write four significant digits, but all of those before the point and none beyond the fourth behind it."""
    places = 4 if value == 0 else min(4, max(0, 3 - math.floor(math.log10(abs(value)))))
    return f'{value:.{places}f}'


def _plain(content: Any) -> Any:
    if isinstance(content, dict):
        return {str(key): _plain(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return list(map(_plain, content))
    return _or_none(content)


def _or_none(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
