"""Run a comparison, step by step."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from hifacegan_plugin.compare import tables
from hifacegan_plugin.compare.comparison import Comparison
from hifacegan_plugin.compare.evaluation import build_available_metrics, measure_images
from hifacegan_plugin.compare.folder import Folder, open_folder, read_json, write_json, write_text
from hifacegan_plugin.compare.given_results import copy_results
from hifacegan_plugin.compare.image_sets import ImageSet, digest_files, open_test_set, write_test_set
from hifacegan_plugin.compare.job import Job
from hifacegan_plugin.compare.page import write_page
from hifacegan_plugin.compare.results import Results, describe_machine, make_row, with_differences
from hifacegan_plugin.compare.server import start_server
from hifacegan_plugin.compare.worker import run_job

if TYPE_CHECKING:
    from hifacegan_plugin.compare.server import Context


def compare(comparison: Comparison, output: Path, resume: bool = False) -> list[str]:
    """Run a comparison: print the tables, and write them and the page into a folder.

    Args:
        comparison: options.
        output: output folder.
        resume: keep the results of an earlier run in the folder.

    Returns:
        A message for everything that failed and was skipped. A metric without its optional package or weights is also
        skipped and reported, but not as a failure.

    Raises:
        ValueError: a test set cannot be used.
        OSError: the folder cannot be written to, is not a comparison, or is in use by another process.
    """
    opened = [open_test_set(name, options) for name, options in comparison.datasets.items()]
    context = start_server()
    with open_folder(output, resume) as folder:
        metrics, problems = build_available_metrics(comparison.metrics)
        test_sets = [write_test_set(each, folder) for each in opened]
        problems += [problem for test_set in test_sets for problem in test_set.problems]

        results = Results(comparison, metrics, [(test_set, []) for test_set in test_sets], describe_machine())
        for label, options in comparison.restorers.items():
            job = _make_job(label, options, test_sets, folder)
            summary = _restore(job, context)
            problems += [f'{label}: {summary["error"]}'] if summary.get('error') else []
            for test_set, rows in results.tables:
                unmeasured = measure_images(metrics, comparison.metrics, job, test_set)
                records = job.records(test_set.name)
                rows.append(make_row(label, metrics, test_set.images, records, summary))
                problems += [f'{test_set.name}: {label}: {r["name"]}: {r["error"]}' for r in records if 'error' in r]
                problems += unmeasured

        if comparison.against is not None:
            results.tables = [(each, with_differences(rows, comparison.against)) for each, rows in results.tables]
        results.left_out = [f'metrics: {metric.name}: {metric.unavailable}' for metric in metrics if metric.unavailable]
        results.left_out += problems
        _show(results, output, folder)
    return problems


def _make_job(label: str, options: dict[str, Any], test_sets: list[ImageSet], folder: Folder) -> Job:
    """Return the job of a restorer, with the inputs that its results depend on."""
    depends_on = {
        'restorer': options,
        'weights': _size_and_time(options.get('pretrain_network_g')),
        'results': digest_files(options) if options.get('type') == 'folder' else '',
    }
    return Job(
        label,
        options,
        folder,
        images={test_set.name: test_set.images for test_set in test_sets},
        made_from={test_set.name: {**depends_on, 'test_set': test_set.content} for test_set in test_sets},
    )


def _size_and_time(weights: str | None) -> list[Any]:
    """Return size and modification time of a weights file, to detect changes."""
    path = Path(weights or '')
    return [path.stat().st_size, path.stat().st_mtime] if path.is_file() else []


def _restore(job: Job, context: Context) -> dict[str, Any]:
    """Restore the remaining images of a job in a new process, and return its summary."""
    if job.options.get('type') == 'folder':
        return copy_results(job)
    summary = read_json(job.folder.summary(job.label)) or {'error': 'not restored yet'}
    return run_job(context, job) if 'error' in summary or not job.is_done() else summary


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
