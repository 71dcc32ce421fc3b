"""Build folders of encoded images. A folder gets its name only when it is complete; a killed build can be resumed.

The images go, in order and in batches, into one or more *stores* (an LMDB, a plain folder) below `.NAME.partial`
next to the target. After each batch, a journal, `build.jsonl`, gets one line per source: what was stored, or why the
source was rejected. The journal defines the progress: on resuming, anything that a store holds beyond it is removed and
made again. An interrupted and an uninterrupted build give the same folder. The journal stays in it and records which
key came from which file.
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

BATCH_BYTES = 32 << 20
_HOW_TO_CONTINUE = 'What is finished is kept: make room or fix the cause, then run the same command with --resume'


class Outcome(NamedTuple):
    """What became of one source: the entries for each store by the store's name, or the reason it was rejected."""

    entries: Mapping[str, list[Entry]]
    rejected: str | None = None


class Summary(NamedTuple):
    """Counts of a finished build."""

    stored: int
    rejected: int


@dataclass(frozen=True)
class Run:
    """How a build runs, whatever it makes.

    Attributes:
        jobs: sources that are worked on at a time.
        resume: continue an interrupted build; start where there is none, do nothing where the target is complete.
        overwrite: start afresh, and put the result in the place of an older target.
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
    check: Callable[[Path], None] | None = None,
) -> Summary:
    """Build `target` from `sources`.

    Args:
        target: the folder to be; rejected sources are listed beside it, in `NAME.rejected.tsv`.
        sources: names of the sources, in order.
        settings: all that the result depends on, by option; a build is resumed with the same settings only.
        stores: what opens each store, by its path inside the target (`.` is the target itself).
        prepare: turns the sources that are left into one outcome each, in order.
        run: whether it resumes or overwrites another.
        check: called with the whole folder before it gets its name; may raise `BuildError`.

    Raises:
        BuildError: the target has no name, is there already or is being built; other settings or sources than those of
            the interrupted build; no image could be stored; the disk is full or fails.
    """
    if not target.name:
        raise BuildError(f'-o {target}: name a new folder, which the build makes')
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
                    f'{partial} holds an interrupted build: continue with --resume or start afresh with --overwrite'
                )
            else:
                _start_afresh(partial, journal, header)
            _fill(partial, sources, stores, prepare, journal)
            summary = _summarise(journal.records)
            _report(target, journal.records)
            if not summary.stored:
                shutil.rmtree(partial)
                raise BuildError(f'none of the {len(sources)} images could be used: see {report_path(target)}')
            if check:
                check(partial)
            _rename(partial, target, header['overwrite'])
    return summary


def report_path(target: Path) -> Path:
    """Return where the rejected sources of ``target`` are listed."""
    return target.with_name(f'{target.name}.rejected.tsv')


@contextmanager
def _disk_errors_explained(partial: Path) -> Iterator[None]:
    """Turn what goes wrong on the disk into a BuildError that says how to go on."""
    try:
        yield
    except OSError as error:
        raise BuildError(f'cannot write {error.filename or partial}: {error.strerror}. {_HOW_TO_CONTINUE}') from error
    except lmdb.Error as error:
        # A full disk cuts a write short, and LMDB calls that an input/output error: so the room is stated.
        room = f'{shutil.disk_usage(partial).free / 1e6:,.0f} MB free on its disk'
        raise BuildError(f'cannot write {partial}: {error} ({room}). {_HOW_TO_CONTINUE}') from error
    except DamagedDatabaseError as error:
        raise BuildError(f'{error}: start afresh with --overwrite') from error


def _start_afresh(partial: Path, journal: Journal, header: Record) -> None:
    """Remove what an earlier build has left, and begin the journal."""
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
    """Bring all stores from what the journal says to the end, and the journal with them."""

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

        # One batch goes to disk while the next is made.
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
    return {
        'source': source,
        'stored': {name: [entry.describe() for entry in entries] for name, entries in outcome.entries.items()},
    }


def _summarise(records: Sequence[Record]) -> Summary:
    rejected = sum('rejected' in record for record in records)
    return Summary(len(records) - rejected, rejected)


def _check_same(header: Record, wanted: Record, target: Path) -> None:
    """Check that a build that was begun is of the same settings and sources as are wanted now."""
    then, now = header['settings'], json.loads(json.dumps(wanted['settings']))
    differing = [name for name in {**then, **now} if then.get(name) != now.get(name)]
    if differing:
        changes = ', '.join(f'{name} was {then.get(name)}, is {now.get(name)}' for name in differing)
        raise BuildError(f'{target} was started with other options ({changes}): --resume needs the same')
    if header['sources'] != wanted['sources']:
        raise BuildError(
            f'{target} was started with another list of images: files were added, removed or renamed '
            'since. Start afresh with --overwrite'
        )


def _digest(sources: Sequence[str]) -> str:
    return hashlib.sha256(b'\0'.join(map(os.fsencode, sources))).hexdigest()


def _check_replaceable(target: Path, overwrite: bool) -> None:
    if not overwrite:
        raise BuildError(f'{target} is there already: --overwrite builds it again')
    if not ((target / JOURNAL).exists() or (target / 'data.mdb').exists()):
        raise BuildError(f'{target} is no database or set of pairs: --overwrite does not touch it, choose another name')


def _rename(partial: Path, target: Path, overwrite: bool) -> None:
    old = target.with_name(f'.{target.name}.old')
    if target.exists():
        _check_replaceable(target, overwrite)
        _remove(old)  # what a kill has left of an earlier deletion
        target.rename(old)
    partial.rename(target)
    _remove(old)


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)


def _report(target: Path, records: Sequence[Record]) -> None:
    """List the rejected sources; where there are none, remove an older list."""
    path = report_path(target)
    rejected = [record for record in records if 'rejected' in record]
    if not rejected:
        path.unlink(missing_ok=True)
        return
    with path.open('w', encoding='utf-8', newline='', errors='surrogateescape') as file:
        writer = csv.writer(file, dialect='excel-tab')
        writer.writerow(['file', 'reason'])
        writer.writerows([record['source'], record['rejected']] for record in rejected)
