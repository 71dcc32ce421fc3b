"""``hifacegan doctor [-opt options.yml]``: prints what there is, what is wrong and the mend."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from hifacegan_plugin import host
from hifacegan_plugin.doctor import environment
from hifacegan_plugin.doctor.finding import Finding, in_words


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument('-opt', type=Path, metavar='FILE', help='also check this options file, its data and its model')
    parser.add_argument('--iterate', action='store_true', help='also train two iterations: time, memory, losses')


def run(arguments: argparse.Namespace) -> int:
    """Check; 0: nothing is in the way of a training, 1: something is."""
    print('This machine')
    _print_lines(environment.describe())
    findings = [*environment.check_environment(), *_check_import_of_host()]
    _print_findings(findings)
    if arguments.opt and any(finding.stops for finding in findings):
        print(f'\n{arguments.opt} is not looked at: mend this first.')
    elif arguments.opt:
        print(f'\n{arguments.opt}')
        findings += _examine(arguments.opt, arguments.iterate)
    wrong = sum(finding.stops for finding in findings)
    print(f'\n{wrong} wrong, {len(findings) - wrong} doubtful.')
    return 1 if wrong else 0


def _check_import_of_host() -> Iterable[Finding]:
    try:
        host.register()
    except ImportError as error:
        yield Finding(f'{error}', 'see above: nothing works without the host')


def _examine(file: Path, iterate: bool) -> list[Finding]:
    """Check an options file in steps, each of which needs what the one before it found in order."""
    from hifacegan_plugin.doctor import comparison_file, data_sets, options_file, training  # they need the host

    opt, findings = options_file.read_options(file)
    if comparison_file.is_comparison(opt):
        findings = list(comparison_file.check_comparison(file))
        _print_findings(findings)
        return findings
    if opt:
        findings += _findings_of(options_file.check_options, opt)
    if not any(finding.stops for finding in findings):
        opt, more = training.as_the_host_reads(file, is_train='train' in opt)
        findings += more
    if not any(finding.stops for finding in findings):
        checks = [training.check_start, training.check_devices, training.check_paths, training.check_perceptual_weights,
                  data_sets.check_data_sets]
        if opt['is_train']:
            checks += [training.check_course, training.check_logging]
        findings += [finding for check in checks for finding in _findings_of(check, opt)]
    _print_findings(findings)
    if any(finding.stops for finding in findings):
        print('  The model is not built: mend this first.')
        return findings
    lines, more = training.rehearse(opt, iterate and opt['is_train'])
    _print_lines(lines)
    _print_findings(more)
    return findings + more


def _findings_of(check: Callable[[dict[str, Any]], Iterable[Finding]], opt: dict[str, Any]) -> Iterator[Finding]:
    """Run a check; an option that it cannot work with is a finding, too."""
    try:
        yield from check(opt)
    except Exception as error:  # options may hold anything, in any place
        task = check.__doc__.partition('.')[0]
        yield Finding(f'{in_words(error)} (while this was looked at: {task})',
                      'an option has a value of the wrong type; the files in options/ show what goes there')


def _print_lines(lines: Iterable[str]) -> None:
    for line in lines:
        print(textwrap.fill(line, 120, initial_indent='  ', subsequent_indent='    '))


def _print_findings(findings: Iterable[Finding]) -> None:
    for finding in findings:
        print(f'  {"WRONG" if finding.stops else "doubtful"}: {finding.what}\n    -> {finding.mend}')
