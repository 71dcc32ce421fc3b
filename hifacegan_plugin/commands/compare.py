"""``hifacegan compare``: see :mod:`hifacegan_plugin.compare`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from hifacegan_plugin import host

# Exit status, as of `diff`: there are results, but something was left out; there are none.
LEFT_OUT, NO_RESULTS = 1, 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument('-opt', required=True, metavar='FILE', help='options file, such as options/compare_demo.yml')
    parser.add_argument('-o', '--output', type=Path, metavar='FOLDER', help='default: results/NAME')
    parser.add_argument('--resume', action='store_true',
                        help='keep what an earlier run finished with the same options, weights and data; otherwise '
                             'its folder is renamed')


def run(arguments: argparse.Namespace) -> int:
    """Compare the restorers of an options file; 0: all went well, 1: something failed, 2: there is no result."""
    host.register()
    from hifacegan_plugin.compare.comparison import read_comparison

    try:
        comparison = read_comparison(arguments.opt)
        problems = compare(comparison, arguments.output or Path('results') / comparison.name, arguments.resume)
    except (ValueError, OSError) as error:
        print(f'hifacegan compare: {error}', file=sys.stderr)
        return NO_RESULTS
    return LEFT_OUT if problems else 0


def compare(comparison: Any, output: Path, resume: bool = False) -> list[str]:
    """Run a comparison: print the tables, and write them and the page into a folder.

    Args:
        comparison: what :func:`~hifacegan_plugin.compare.comparison.read_comparison` gives.
        output: the folder.
        resume: keep what the folder holds of an earlier run.

    Returns:
        A line for everything that went wrong and was left out. A metric whose optional package or weights are not on
        this machine is left out, too, and named, but is not counted as wrong.

    Raises:
        ValueError: a test set cannot be used at all.
        OSError: the folder cannot be written to, or holds something else than a comparison.
    """
    from hifacegan_plugin.compare import measuring, page, results, tables, worker
    from hifacegan_plugin.compare.folder import read_log, start_folder, write_json, write_text
    from hifacegan_plugin.compare.test_sets import open_test_set, write_test_set

    opened = [open_test_set(name, options) for name, options in comparison.datasets.items()]
    folder = start_folder(output, resume)
    processes = worker.start_server()
    meter, problems = measuring.make_meter(comparison.metrics)
    test_sets = [write_test_set(each, folder) for each in opened]
    problems += [problem for test_set in test_sets for problem in test_set.problems]

    report: list[tuple[Any, list[results.Row]]] = [(test_set, []) for test_set in test_sets]
    for label, options in comparison.restorers.items():
        made_from = {test_set.name: {'restorer': options, 'weights': _identify(options.get('pretrain_network_g')),
                                     'test_set': test_set.content} for test_set in test_sets}
        summary = _restore(label, options, test_sets, made_from, folder, processes)
        problems += [f'{label}: {summary["error"]}'] if summary.get('error') else []
        for test_set, rows in report:
            records = read_log(folder.log(test_set.name, label, 'restored'), made_from[test_set.name])
            restored = {record['name'] for record in records if 'error' not in record}
            measurements, failures = measuring.measure_pictures(
                meter, test_set.name, label, [name for name in test_set.pictures if name in restored],
                {'restored': made_from[test_set.name], 'metrics': comparison.metrics}, folder,
            )
            rows.append(results.make_row(label, comparison.metrics, test_set.pictures, records, measurements, summary))
            problems += [f'{test_set.name}: {label}: {r["name"]}: {r["error"]}' for r in records if 'error' in r]
            problems += failures

    left_out = [f'metrics: {metric}: {reason}' for metric, reason in meter.unavailable.items()] + problems
    machine = results.describe_machine()
    for test_set, rows in report:
        print(f'\n{test_set.name}: {len(test_set.pictures)} pictures\n')
        print('\n'.join([tables.comparison_table(comparison, rows), *tables.describe_inputs(rows)]))
    write_json(output / 'comparison.json', tables.json_report(comparison, report, machine, left_out))
    write_text(output / 'comparison.csv', tables.csv_report(comparison, report))
    write_text(output / 'comparison.md', tables.markdown_report(comparison, report, machine, left_out))
    page.write_page(output / 'comparison.html', comparison, report, machine, left_out, folder)
    if left_out:
        print(f'\nLeft out ({len(left_out)}):\n' + '\n'.join(f'- {line}' for line in left_out))
    print(f'\n{output}/comparison.html, .md, .csv and .json')
    return problems


def _restore(
    label: str, options: dict[str, Any], test_sets: list, made_from: dict[str, Any], folder: Any, processes: Any
) -> dict[str, Any]:
    """Let a process of its own restore what is not restored yet; give what it found out."""
    from hifacegan_plugin.compare import worker
    from hifacegan_plugin.compare.folder import read_json, restored

    summary = read_json(folder.summary(label)) or {'error': 'not restored yet'}
    done = all(len(restored(folder, test_set.name, label, made_from[test_set.name])) == len(test_set.pictures)
               for test_set in test_sets)
    if done and 'error' not in summary:
        return summary
    weights = options.get('pretrain_network_g')
    if weights:  # the process may have another current folder
        options = {**options, 'pretrain_network_g': str(Path(weights).resolve())}
    pictures = {test_set.name: test_set.pictures for test_set in test_sets}
    return worker.run_job(processes, worker.Job(label, options, folder.root.resolve(), pictures, made_from))


def _identify(weights: str | None) -> list[Any]:
    """Tell a weights file from a later one under the same name."""
    path = Path(weights or '')
    return [path.stat().st_size, path.stat().st_mtime] if path.is_file() else []
