"""Build folders of encoded images. A folder gets its name only when it is complete; a killed build can be resumed.

A build writes the images in batches into one or more *stores* (an LMDB, a plain folder) in ``.NAME.partial`` next to
the target. After each batch, it adds a line for each source to a journal, ``build.jsonl``: what was stored, or why the
source was rejected. When a build is resumed, it removes everything from the stores that the journal does not list. The
result does not depend on interruptions. The journal stays in the target and tells which file a key comes from.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import lmdb
from tqdm import tqdm

from hifacegan_plugin.images.databases import DamagedDatabaseError
from hifacegan_plugin.prepare.build_error import BuildError
from hifacegan_plugin.prepare.journal import JOURNAL, Journal, Record, open_journal, read_finished
from hifacegan_plugin.prepare.stores import Entry, Store, Stored
from hifacegan_plugin.system.files import check_folder

BATCH_BYTES = 32 << 20
_HOW_TO_CONTINUE = 'Finished work is kept: fix the cause, then run the same command with --resume'


class Outcome(NamedTuple):
    """The outcome for a source: its entries by the name of the store, or why it was rejected.

    ``notes`` are stored in the journal and passed to ``finish`` of :func:`build`.
    """

    entries: Mapping[str, list[Entry]]
    rejected: str | None = None
    notes: Sequence[Record] = ()


class Summary(NamedTuple):
    """Numbers of stored and rejected sources in a finished build."""

    stored: int
    rejected: int


@dataclass(frozen=True)
class Run:
    """How a build runs; does not affect its result.

    Attributes:
        jobs: number of sources that are processed in parallel.
        resume: continue an interrupted build; start if there is none; do nothing if the target is complete.
        overwrite: start over, and replace an existing target when the build is complete.
    """

    jobs: int = os.cpu_count() or 1
    resume: bool = False
    overwrite: bool = False


def build(
    target: Path,
    sources: Sequence[str],
    settings: Mapping[str, object],
    stores: Mapping[str, Callable[[Path], Store]],
    prepare: Callable[[Sequence[str]], Iterator[Outcome]],
    run: Run,
    finish: Callable[[Path, list[Record]], None] | None = None,
) -> Summary:
    """Build ``target`` from ``sources``.

    Args:
        target: folder to build; ``NAME.rejected.tsv`` next to it lists the rejected sources.
        sources: names of the sources, in order.
        settings: options that the result depends on; a build can be resumed only with the same settings.
        stores: functions that open a store, by its path in the target (``.`` is the target itself).
        prepare: takes the remaining sources and yields an outcome for each, in order.
        run: how the build runs.
        finish: called with the complete folder and the notes of all outcomes, before the folder gets its name.

    Raises:
        BuildError: the target already exists, is being built or has no name, or its folder cannot be made; the settings
            or sources differ from those of the interrupted build; all sources were rejected; or the disk is full or
            fails.
    """
    if not target.name:
        raise BuildError(f'-o {target}: expected the name of a new folder')
    try:
        check_folder('-o', target.parent)
    except ValueError as error:
        raise BuildError(f'{error}') from error
    partial = target.with_name(f'.{target.name}.partial')
    header: Record = {'settings': Record(settings), 'sources': _digest(sources), 'overwrite': run.overwrite}
    with _disk_errors_explained(partial):
        if target.exists():
            if run.resume and not partial.exists():
                found, records = read_finished(target)
                _check_same(found, header, target)
                return _summarise(records)
            if not run.resume:
                _check_replaceable(target, run.overwrite)
        with open_journal(partial, target) as journal:
            if journal.header and run.resume:
                _check_same(journal.header, header, target)
                header = journal.header
            elif journal.header and not run.overwrite:
                raise BuildError(
                    f'{partial} holds an interrupted build: continue with --resume or start over with --overwrite'
                )
            else:
                _start_over(partial, journal, header)
            _fill(partial, sources, stores, prepare, journal)
            summary = _summarise(journal.records)
            _report(target, journal.records)
            if not summary.stored:
                shutil.rmtree(partial)
                raise BuildError(f'none of the {len(sources)} images could be used: see {report_path(target)}')
            if finish:
                finish(partial, [note for record in journal.records for note in record.get('notes', [])])
            _rename(partial, target, header['overwrite'])
    return summary


def report_path(target: Path) -> Path:
    """Return the path of the list of rejected sources."""
    return target.with_name(f'{target.name}.rejected.tsv')


@contextmanager
def _disk_errors_explained(partial: Path) -> Iterator[None]:
    """Turn disk errors into a BuildError that says how to continue."""
    try:
        yield
    except OSError as error:
        raise BuildError(f'cannot write {error.filename or partial}: {error.strerror}. {_HOW_TO_CONTINUE}') from error
    except lmdb.Error as error:
        # LMDB reports a full disk only as an input/output error, so the message includes the free space.
        free_space = f'{shutil.disk_usage(partial).free / 1e6:,.0f} MB free on its disk'
        raise BuildError(f'cannot write {partial}: {error} ({free_space}). {_HOW_TO_CONTINUE}') from error
    except DamagedDatabaseError as error:
        raise BuildError(f'{error}: start over with --overwrite') from error


def _start_over(partial: Path, journal: Journal, header: Record) -> None:
    """Remove the files of an earlier build and start a new journal."""
    journal.clear()
    for entry in partial.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
        elif entry.name != JOURNAL:
            entry.unlink()
    journal.append([header])


def _fill(
    partial: Path,
    sources: Sequence[str],
    stores: Mapping[str, Callable[[Path], Store]],
    prepare: Callable[[Sequence[str]], Iterator[Outcome]],
    journal: Journal,
) -> None:
    """Process all sources that the journal does not list yet; write them to the stores and to the journal."""

    def stored(name: str) -> list[Stored]:
        return [Stored(*entry) for record in journal.records for entry in record.get('stored', {}).get(name, [])]

    with ExitStack() as stack:
        opened = {name: stack.enter_context(closing(opener(partial / name))) for name, opener in stores.items()}
        for name, store in opened.items():
            store.keep_only(entry.key for entry in stored(name))

        def commit(batch: Sequence[tuple[str, Outcome]]) -> None:
            for name, store in opened.items():
                store.write([entry for _, outcome in batch for entry in outcome.entries.get(name, [])])
            journal.append(_record(source, outcome) for source, outcome in batch)

        # Write each batch to disk while the next one is prepared.
        writer = stack.enter_context(ThreadPoolExecutor(1))
        done = len(journal.records)
        left = sources[done:]
        batch, size, written = [], 0, None
        with tqdm(total=len(sources), initial=done, unit='image') as progress:
            for source, outcome in zip(left, prepare(left), strict=True):
                batch.append((source, outcome))
                size += sum(len(entry.value) for entries in outcome.entries.values() for entry in entries)
                if size >= BATCH_BYTES:
                    if written:
                        written.result()
                    written = writer.submit(commit, batch)
                    batch, size = [], 0
                progress.update()
            if written:
                written.result()
            commit(batch)
        for name, store in opened.items():
            store.finish(stored(name))


def _record(source: str, outcome: Outcome) -> Record:
    if outcome.rejected is not None:
        return {'source': source, 'rejected': outcome.rejected}
    stored = {name: [entry.describe() for entry in entries] for name, entries in outcome.entries.items()}
    return {'source': source, 'stored': stored} | ({'notes': outcome.notes} if outcome.notes else {})


def _summarise(records: Sequence[Record]) -> Summary:
    rejected = sum('rejected' in record for record in records)
    return Summary(len(records) - rejected, rejected)


def _check_same(header: Record, new_header: Record, target: Path) -> None:
    """Check that the settings and sources are those that the build was started with."""
    then, now = header['settings'], json.loads(json.dumps(new_header['settings']))
    differing = [name for name in {**then, **now} if then.get(name) != now.get(name)]
    if differing:
        changes = ', '.join(f'{name} was {then.get(name)}, is {now.get(name)}' for name in differing)
        raise BuildError(f'{target} was started with other options ({changes}): --resume needs the same options')
    if header['sources'] != new_header['sources']:
        raise BuildError(
            f'{target} was started with another list of images: since then, files were added, removed or renamed. '
            'Start over with --overwrite'
        )


def _digest(sources: Sequence[str]) -> str:
    return hashlib.sha256(b'\0'.join(map(os.fsencode, sources))).hexdigest()


def _check_replaceable(target: Path, overwrite: bool) -> None:
    if not overwrite:
        raise BuildError(f'{target} already exists: --overwrite replaces it')
    if not ((target / JOURNAL).exists() or (target / 'data.mdb').exists()):
        raise BuildError(f'{target} is not a data set, so --overwrite does not replace it: choose another name')


def _rename(partial: Path, target: Path, overwrite: bool) -> None:
    old = target.with_name(f'.{target.name}.old')
    if target.exists():
        _check_replaceable(target, overwrite)
        _remove(old)  # left by a process that was killed while it deleted the folder
        target.rename(old)
    partial.rename(target)
    _remove(old)


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)


def _report(target: Path, records: Sequence[Record]) -> None:
    """Write the list of rejected sources; if there are none, remove an older list."""
    path = report_path(target)
    rejected = [record for record in records if 'rejected' in record]
    if not rejected:
        path.unlink(missing_ok=True)
        return
    with path.open('w', encoding='utf-8', newline='', errors='surrogateescape') as file:
        writer = csv.writer(file, dialect='excel-tab')
        writer.writerow(['file', 'reason'])
        writer.writerows([record['source'], record['rejected']] for record in rejected)
