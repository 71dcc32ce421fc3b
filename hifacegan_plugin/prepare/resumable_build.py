"""Builds of folders of encoded images, which appear under their name only when complete, and which survive a kill.

The images go, in order and in batches, into one or more *stores* (an LMDB, a plain folder) below
`.NAME.partial` beside the target. After each batch a journal, `build.jsonl`, gets one line per source: what was stored
of it, or why it was rejected. The journal alone says how far the build came: what a store holds beyond it is removed
on resuming and made again. The folder that results does not tell whether it was interrupted. The journal stays in it,
as the record of which key came from which file.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol

import lmdb
from tqdm import tqdm

from hifacegan_plugin.images.databases import DamagedDatabaseError
from hifacegan_plugin.prepare.basicsr_lmdb import Entry, Stored
from hifacegan_plugin.system.locks import lock_file

JOURNAL = 'build.jsonl'
Record = dict[str, Any]  # a line of the journal
BATCH_BYTES = 32 << 20
_HOW_TO_CONTINUE = 'What is finished is kept: make room or fix the cause, then run the same command with --resume'


class BuildError(Exception):
    """The build cannot start or continue; the message says what to do."""


class Outcome(NamedTuple):
    """What became of one source: the entries for each store by the store's name, or the reason it was rejected."""

    entries: Mapping[str, list[Entry]]
    rejected: str | None = None


class Summary(NamedTuple):
    """Counts of a finished build."""

    stored: int
    rejected: int


class Store(Protocol):
    """Where encoded images go; see `basicsr_lmdb.LmdbWriter`."""

    def write(self, entries: Collection[Entry]) -> None: ...  # noqa: D102
    def keep_only(self, keys: Iterable[str]) -> None: ...  # noqa: D102
    def finish(self, stored: Iterable[Stored]) -> None: ...  # noqa: D102
    def close(self) -> None: ...  # noqa: D102


def build(
    target: Path,
    sources: Sequence[str],
    settings: Mapping[str, object],
    stores: Mapping[str, Callable[[Path], Store]],
    prepare: Callable[[Sequence[str]], Iterator[Outcome]],
    *,
    resume: bool = False,
    overwrite: bool = False,
    check: Callable[[Path], None] | None = None,
) -> Summary:
    """Build `target` from `sources`.

    Args:
        target: the folder to be; rejected sources are listed beside it, in `NAME.rejected.tsv`.
        sources: names of the sources, in order.
        settings: all that the result depends on, by option; a build is resumed with the same settings only.
        stores: what opens each store, by its path inside the target (`.` is the target itself).
        prepare: turns the sources that are left into one outcome each, in order.
        resume: continue an interrupted build; start where there is none, do nothing where the target is complete.
        overwrite: start afresh, and put the result in the place of an older target.
        check: called with the whole folder before it gets its name; may raise `BuildError`.

    Raises:
        BuildError: the target has no name, is there already or is being built; other settings or sources than those of
            the interrupted build; no image could be stored; the disk is full or fails.
    """
    if not target.name:
        raise BuildError(f'-o {target}: a folder below it is wanted, which the build makes')
    partial = target.with_name(f'.{target.name}.partial')
    header: Record = {'settings': Record(settings), 'sources': _digest(sources), 'overwrite': overwrite}
    try:
        if target.exists():
            if resume and not partial.exists():
                return _read_summary(target, header)
            if not resume:
                _check_replaceable(target, overwrite)
        with _journal(partial, target) as journal:
            records = _read_journal(journal)
            if records and not (resume or overwrite):
                raise BuildError(
                    f'{partial} holds an interrupted build: continue with --resume or start afresh with --overwrite'
                )
            if records and resume:
                header = _check_same(records.pop(0), header, target)
            else:
                records = []
                _clear(partial, journal)
                _append(journal, [header])
            _fill(partial, sources, stores, prepare, records, journal)
            rejected = [record for record in records if 'rejected' in record]
            _report(target, rejected)
            if len(rejected) == len(sources):
                shutil.rmtree(partial)
                raise BuildError(f'none of the {len(sources)} images could be used: see {report_path(target)}')
            if check:
                check(partial)
            _rename(partial, target, header['overwrite'])
    except OSError as error:
        raise BuildError(f'cannot write {error.filename or partial}: {error.strerror}. {_HOW_TO_CONTINUE}') from error
    except lmdb.Error as error:
        # A full disk cuts a write short, and LMDB calls that an input/output error: so the room is stated.
        room = f'{shutil.disk_usage(partial).free / 1e6:,.0f} MB free on its disk'
        raise BuildError(f'cannot write {partial}: {error} ({room}). {_HOW_TO_CONTINUE}') from error
    except DamagedDatabaseError as error:
        raise BuildError(f'{error}: start afresh with --overwrite') from error
    return Summary(len(sources) - len(rejected), len(rejected))


def report_path(target: Path) -> Path:
    """Return where the rejected sources of ``target`` are listed."""
    return target.with_name(f'{target.name}.rejected.tsv')


def _fill(
    partial: Path,
    sources: Sequence[str],
    stores: Mapping[str, Callable[[Path], Store]],
    prepare: Callable[[Sequence[str]], Iterator[Outcome]],
    records: list[Record],
    journal: IO[bytes],
) -> None:
    """Bring all stores from what `records` say to the end, and `records` with them."""

    def stored(name: str) -> list[Stored]:
        return [Stored(*entry) for record in records for entry in record.get('stored', {}).get(name, [])]

    with ExitStack() as stack:
        opened = {name: stack.enter_context(closing(opener(partial / name))) for name, opener in stores.items()}
        for name, store in opened.items():
            store.keep_only(entry.key for entry in stored(name))

        def commit(batch: Sequence[tuple[str, Outcome]]) -> None:
            for name, store in opened.items():
                store.write([entry for _, outcome in batch for entry in outcome.entries.get(name, [])])
            new = [_record(source, outcome) for source, outcome in batch]
            _append(journal, new)
            records.extend(new)

        # One batch goes to disk while the next is made.
        writer = stack.enter_context(ThreadPoolExecutor(1))
        left = sources[len(records) :]
        batch, size, written = [], 0, None
        with tqdm(total=len(sources), initial=len(records), unit='image') as progress:
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


@contextmanager
def _journal(partial: Path, target: Path) -> Iterator[IO[bytes]]:
    """Open the journal and hold it: two builders of one target would write into one another.

    The lock ends with the builder, however that ends; workers do not inherit it.
    """
    partial.mkdir(parents=True, exist_ok=True)
    path = partial / JOURNAL
    with path.open('a+b') as journal:
        if not lock_file(journal):
            raise BuildError(f'another process is building {target}: wait for it or choose another name')
        if not (path.exists() and os.path.samestat(path.stat(), os.fstat(journal.fileno()))):
            raise BuildError(f'another process has just finished {target}')
        yield journal


def _read_journal(journal: IO[bytes]) -> list[Record]:
    """Read the whole lines and cut off a line that a kill left half written."""
    journal.seek(0)
    text = journal.read()
    whole = text[: text.rfind(b'\n') + 1]
    journal.truncate(len(whole))
    return [json.loads(line) for line in whole.splitlines()]


def _append(journal: IO[bytes], records: Iterable[Record]) -> None:
    journal.write(b''.join(json.dumps(record).encode() + b'\n' for record in records))
    journal.flush()
    os.fsync(journal.fileno())


def _check_same(header: Record, wanted: Record, target: Path) -> Record:
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
    return header


def _digest(sources: Sequence[str]) -> str:
    return hashlib.sha256(b'\0'.join(map(os.fsencode, sources))).hexdigest()


def _clear(partial: Path, journal: IO[bytes]) -> None:
    journal.truncate(0)
    for entry in partial.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
        elif entry.name != JOURNAL:
            entry.unlink()


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


def _report(target: Path, rejected: Sequence[Record]) -> None:
    path = report_path(target)
    if not rejected:
        path.unlink(missing_ok=True)
        return
    with path.open('w', newline='', errors='surrogateescape') as file:
        writer = csv.writer(file, dialect='excel-tab')
        writer.writerow(['file', 'reason'])
        writer.writerows([record['source'], record['rejected']] for record in rejected)


def _read_summary(target: Path, header: Record) -> Summary:
    path = target / JOURNAL
    if not path.exists():
        raise BuildError(f'{target} is there already and was not made by this command: --overwrite builds it again')
    then, *records = map(json.loads, path.read_text().splitlines())
    _check_same(then, header, target)
    rejected = sum('rejected' in record for record in records)
    return Summary(len(records) - rejected, rejected)
