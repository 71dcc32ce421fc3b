"""Read the options file of ``hifacegan compare``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hifacegan_plugin.metrics.catalogue import direction
from hifacegan_plugin.schema.comparison import ComparisonFile, Page
from hifacegan_plugin.schema.problem import OptionError, Problem
from hifacegan_plugin.schema.reading import read_options
from hifacegan_plugin.schema.section import find_problems

Entries = dict[str, dict[str, Any]]  # options by name


@dataclass(frozen=True)
class Comparison:
    """The options of a comparison.

    Args:
        name: name of the comparison and of its folder in ``results``.
        datasets: options of each test set by name, as in the host's test options.
        restorers: options of each restorer by label.
        metrics: options of each metric by name, as under ``val: metrics`` in the host's options.
        page: limits for the size of the HTML page.
        against: label of the restorer that the others are compared with; None shows no differences.
    """

    name: str
    datasets: Entries
    restorers: Entries
    metrics: Entries
    page: Page = field(default_factory=Page)
    against: str | None = None


def read_comparison(file: str | Path) -> Comparison:
    """Read an options file.

    Raises:
        OptionError: the file does not exist or is not valid YAML, or options are missing, unknown or out of range; the
            message names the file and the first problem.
    """
    comparison, problems = parse_comparison(Path(file))
    if comparison is None:
        what = problems[0].what
        raise OptionError(what if what.startswith(f'{file}') else f'{file}: {what}')
    return comparison


def parse_comparison(file: Path) -> tuple[Comparison | None, list[Problem]]:
    """Read an options file; return its options and no problems, or None and all problems."""
    opt, problems = read_options(file)
    problems += find_problems(ComparisonFile, opt) if opt else []
    if not problems:
        problems += _wrong_directions(opt['metrics'])
    if problems:
        return None, problems
    parsed = ComparisonFile.model_validate(opt)
    datasets, restorers, metrics = (
        {str(name): options for name, options in opt[section].items()}
        for section in ('datasets', 'restorers', 'metrics')
    )
    return Comparison(parsed.name, datasets, restorers, metrics, parsed.page or Page(), parsed.against), []


def _wrong_directions(metrics: Entries) -> list[Problem]:
    problems = []
    for name, options in metrics.items():
        try:
            direction(options)
        except ValueError as error:
            problems.append(Problem(f'metrics: {name}: {error}', 'correct it'))
    return problems
