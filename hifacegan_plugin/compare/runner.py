"""The steps of a comparison, one after the other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hifacegan_plugin.compare import tables, worker
from hifacegan_plugin.compare.comparison import Comparison
from hifacegan_plugin.compare.evaluation import build_metrics_or_report, measure_images
from hifacegan_plugin.compare.folder import (
    Folder,
    read_json,
    read_log,
    restored,
    start_folder,
    write_json,
    write_text,
)
from hifacegan_plugin.compare.given_results import take_results
from hifacegan_plugin.compare.image_sets import ImageSet, identify_files, open_test_set, write_test_set
from hifacegan_plugin.compare.page import write_page
from hifacegan_plugin.compare.results import Results, describe_machine, make_row, with_differences


def compare(comparison: Comparison, output: Path, resume: bool = False) -> list[str]:
    """Run a comparison: print the tables, and write them and the page into a folder.

    Args:
        comparison: the options.
        output: the folder.
        resume: keep what the folder holds of an earlier run.

    Returns:
        A line for everything that went wrong and was left out. A metric whose optional package or weights are not on
        this machine is left out, too, and named, but is not counted as wrong.

    Raises:
        ValueError: a test set cannot be used at all.
        OSError: the folder cannot be written to, or holds something else than a comparison.
    """
    opened = [open_test_set(name, options) for name, options in comparison.datasets.items()]
    folder = start_folder(output, resume)
    processes = worker.start_server()
    metrics, problems = build_metrics_or_report(comparison.metrics)
    test_sets = [write_test_set(each, folder) for each in opened]
    problems += [problem for test_set in test_sets for problem in test_set.problems]

    results = Results(comparison, metrics, [(test_set, []) for test_set in test_sets], describe_machine())
    for label, options in comparison.restorers.items():
        made_from = {
            test_set.name: {
                'restorer': options,
                'weights': _identify(options.get('pretrain_network_g')),
                'results': identify_files(options) if options.get('type') == 'folder' else '',
                'test_set': test_set.content,
            }
            for test_set in test_sets
        }
        summary = _restore(label, options, test_sets, made_from, folder, processes)
        problems += [f'{label}: {summary["error"]}'] if summary.get('error') else []
        for test_set, rows in results.tables:
            records = read_log(folder.log(test_set.name, label, 'restored'), made_from[test_set.name])
            done = {record['name'] for record in records if 'error' not in record}
            failures = measure_images(
                metrics,
                test_set.name,
                label,
                [name for name in test_set.images if name in done],
                {'restored': made_from[test_set.name], 'options': comparison.metrics},
                folder,
            )
            rows.append(make_row(label, metrics, test_set.images, records, summary))
            problems += [f'{test_set.name}: {label}: {r["name"]}: {r["error"]}' for r in records if 'error' in r]
            problems += failures

    if comparison.against is not None:
        results.tables = [(test_set, with_differences(rows, comparison.against)) for test_set, rows in results.tables]
    results.left_out += [f'metrics: {metric.name}: {metric.unavailable}' for metric in metrics if metric.unavailable]
    results.left_out += problems
    _show(results, output, folder)
    return problems


def _show(results: Results, output: Path, folder: Folder) -> None:
    """Print the tables, and write them and the page."""
    for test_set, rows in results.tables:
        print(f'\n{test_set.name}: {len(test_set.images)} images\n')
        print('\n\n'.join(tables.tables_of(results, rows)))
    write_json(output / 'comparison.json', tables.json_report(results))
    write_text(output / 'comparison.csv', tables.csv_report(results))
    write_text(output / 'comparison.md', tables.markdown_report(results))
    write_page(output / 'comparison.html', results, folder)
    if results.left_out:
        print(f'\nLeft out ({len(results.left_out)}):\n' + '\n'.join(f'- {line}' for line in results.left_out))
    print(f'\n{output}/comparison.html, .md, .csv and .json')


def _restore(
    label: str,
    options: dict[str, Any],
    test_sets: list[ImageSet],
    made_from: dict[str, Any],
    folder: Folder,
    processes: Any,
) -> dict[str, Any]:
    """Let a process of its own restore what is not restored yet; return its summary."""
    summary = read_json(folder.summary(label)) or {'error': 'not restored yet'}
    images = {test_set.name: test_set.images for test_set in test_sets}
    if options.get('type') == 'folder':
        return take_results(label, options, images, made_from, folder)
    done = all(
        len(restored(folder, test_set.name, label, made_from[test_set.name])) == len(test_set.images)
        for test_set in test_sets
    )
    if done and 'error' not in summary:
        return summary
    weights = options.get('pretrain_network_g')
    if weights:  # the process may have another current folder
        options = {**options, 'pretrain_network_g': str(Path(weights).resolve())}
    return worker.run_job(processes, worker.Job(label, options, folder.root.resolve(), images, made_from))


def _identify(weights: str | None) -> list[Any]:
    """Identify the contents of a weights file, so that a later one under the same name is recognised."""
    path = Path(weights or '')
    return [path.stat().st_size, path.stat().st_mtime] if path.is_file() else []
