"""Find problems of this machine or an options file, and say how to fix them.

    hifacegan doctor
    hifacegan doctor -opt photographs.yml
    hifacegan doctor -opt photographs.yml --iterate

The first command describes the machine: packages, GPUs, memory. The second also checks the options file of a training,
test or comparison, reads the data and builds the model. The third also trains for two iterations.

Exit status: 0 nothing is wrong, 1 something is.
"""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import hifacegan_plugin
from hifacegan_plugin.doctor import environment
from hifacegan_plugin.schema.problem import Problem, describe_error
from hifacegan_plugin.schema.reading import read_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument('-opt', type=Path, metavar='FILE', help='also check this options file, its data and its model')
    parser.add_argument('--iterate', action='store_true', help='also train two iterations and report on them')


def run(arguments: argparse.Namespace) -> int:
    """Check; 0: nothing is wrong, 1: something is."""
    print('This machine')
    _print_lines(environment.describe())
    problems = [*environment.check_environment(), *_check_import_of_host()]
    _print_problems(problems)
    if arguments.opt and any(problem.stops for problem in problems):
        print(f'\n{arguments.opt} is not checked: fix this first.')
    elif arguments.opt:
        print(f'\n{arguments.opt}')
        problems += _examine(arguments.opt, arguments.iterate)
    wrong = sum(problem.stops for problem in problems)
    print(f'\n{wrong} wrong, {len(problems) - wrong} doubtful.')
    return 1 if wrong else 0


def _check_import_of_host() -> Iterable[Problem]:
    try:
        hifacegan_plugin.register()
    except (ImportError, OSError) as error:
        yield Problem(f'{error}', 'see above: nothing works without the host')


def _examine(file: Path, iterate: bool) -> list[Problem]:
    """Check an options file in steps, each of which needs what the one before it found in order."""
    from hifacegan_plugin.doctor import comparison_file, data_sets, options_file, training
    from hifacegan_plugin.doctor.rehearsal import rehearse
    from hifacegan_plugin.host import starting  # these need the host

    opt, problems = read_options(file)
    if comparison_file.is_comparison(opt):
        problems = list(comparison_file.check_comparison(file))
        _print_problems(problems)
        return problems
    if opt:
        problems += options_file.check_plugin_line(file)
        problems += _problems_of(options_file.check_options, opt)
    if not any(problem.stops for problem in problems):
        opt, more = training.parse_as_host(file, is_train='train' in opt)
        problems += more
    if not any(problem.stops for problem in problems):
        checks = [
            starting.problems_at_start,
            training.check_paths,
            training.check_perceptual_weights,
            data_sets.check_data_sets,
        ]
        if opt['is_train']:
            checks += [training.check_intervals]
        problems += [problem for check in checks for problem in _problems_of(check, opt)]
    _print_problems(problems)
    if any(problem.stops for problem in problems):
        print('  The model is not built: fix this first.')
        return problems
    lines, more = rehearse(opt, iterate and opt['is_train'])
    _print_lines(lines)
    _print_problems(more)
    return problems + more


def _problems_of(check: Callable[[dict[str, Any]], Iterable[Problem]], opt: dict[str, Any]) -> Iterator[Problem]:
    """Run a check; report it as a problem if the check itself fails because of an option."""
    try:
        yield from check(opt)
    except Exception as error:  # options may hold anything, in any place
        task = str(check.__doc__).partition('.')[0]
        yield Problem(
            f'{describe_error(error)} (while checking: {task})',
            'an option has a value of the wrong type; the files in options/ show what goes there',
        )


def _print_lines(lines: Iterable[str]) -> None:
    for line in lines:
        print(textwrap.fill(line, 120, initial_indent='  ', subsequent_indent='    '))


def _print_problems(problems: Iterable[Problem]) -> None:
    for problem in problems:
        print(f'  {"WRONG" if problem.stops else "doubtful"}: {problem.what}\n    -> {problem.fix}')
