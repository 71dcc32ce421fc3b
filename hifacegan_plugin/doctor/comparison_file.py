"""Check the options file of a comparison: whether its test sets, restorers and metrics exist and work."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hifacegan_plugin.compare.comparison import Comparison, parse_comparison
from hifacegan_plugin.compare.given_results import find_results
from hifacegan_plugin.compare.image_sets import open_test_set
from hifacegan_plugin.compare.methods import build_method
from hifacegan_plugin.doctor.data_items import check_metrics
from hifacegan_plugin.schema.comparison import DEGRADED, TRUTH, FolderOptions
from hifacegan_plugin.schema.problem import Problem, describe_error, errors_of_data_set


def is_comparison(opt: dict[str, Any]) -> bool:
    """Return whether these are options of ``hifacegan compare``, not of a training or test."""
    return 'model_type' not in opt and not opt.keys().isdisjoint({'restorers', 'metrics'})


def check_comparison(file: Path) -> Iterator[Problem]:
    """Read an image of each test set, measure one with every metric, and build every restorer."""
    comparison, problems = parse_comparison(file)
    yield from problems
    if comparison is None:
        return
    yield from _check_test_sets(comparison)
    for label, options in comparison.restorers.items():
        try:
            if options.get('type') == 'folder':
                for name in comparison.datasets:
                    find_results(FolderOptions.model_validate(options), name)
            else:
                build_method(options)
        except Exception as error:  # networks of other packages may raise anything
            yield Problem(f'restorers: {label}: {describe_error(error)}', 'correct it; the comparison would skip it')


def _check_test_sets(comparison: Comparison) -> Iterator[Problem]:
    measured = False
    for name, options in comparison.datasets.items():
        try:
            opened = open_test_set(name, options)
            with errors_of_data_set(f'datasets: {name}', options['type']):
                _, images = opened.items[0]()
        except ValueError as error:
            yield Problem(f'{error}', 'correct its options')
            continue
        for problem in opened.problems:
            yield Problem(f'datasets: {name}: {problem}.', 'the comparison will skip it', stops=False)
        if not measured:
            measured = True
            yield from check_metrics('metrics', comparison.metrics, images[DEGRADED], images[TRUTH])
