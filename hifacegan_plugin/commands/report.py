"""Make a table and a contact sheet of the images that basicsr.test restored.

    python -m basicsr.test -opt options/test_hifacegan.yml
    hifacegan report -opt options/test_hifacegan.yml

Prints the metrics of each test set, and writes a sheet of degraded, restored and ground-truth images:
results/NAME/SET_degraded_restored_truth.png.

Exit status: 0 done, 2 something went wrong.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import hifacegan_plugin
from hifacegan_plugin.commands.failing import fails_on
from hifacegan_plugin.schema.file import problems_of_file
from hifacegan_plugin.schema.reading import read_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        '-opt', required=True, type=Path, metavar='FILE', help='the options file of the `basicsr.test` run'
    )


@fails_on(ValueError, OSError)
def run(arguments: argparse.Namespace) -> int:
    """Print a table and write a contact sheet for each test set; return 0, or 2 after an error."""
    hifacegan_plugin.register()
    from hifacegan_plugin.compare.report import report

    report(_valid_options(arguments.opt))
    return 0


def _valid_options(file: Path) -> dict[str, Any]:
    """Read the options, and refuse options that the host cannot run.

    Raises:
        ValueError: the options cannot be read, or the host cannot run them.
    """
    opt, problems = read_options(file)
    if not opt:
        raise ValueError(f'{problems[0].what} ({problems[0].fix})')
    for what, fix, stops in problems_of_file(opt):
        if stops:
            raise ValueError(f'{file}: {what} ({fix})')
    return opt
