"""Restore every frame of a video, and keep everything else.

Restored frames are encoded as segments in a hidden folder beside the result. At the end, the segments are joined with
the sound, subtitles and chapters of the source. An interrupted run leaves the folder, and ``resume`` continues from it.

This module needs PyAV, an optional dependency.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from itertools import chain, count, islice, takewhile
from pathlib import Path
from shutil import rmtree
from typing import NamedTuple

import av
import numpy as np
from tqdm import tqdm

from hifacegan_plugin.restore.videos.options import CODECS, DEFAULTS, VideoError, VideoOptions
from hifacegan_plugin.restore.videos.reading import (
    Decoded,
    FrameReader,
    Look,
    open_video,
    read_look,
    to_rgb,
)
from hifacegan_plugin.restore.videos.temporal import Smoother
from hifacegan_plugin.restore.videos.writing import Segment, encode_segment, join
from hifacegan_plugin.system.files import whole_file
from hifacegan_plugin.system.locks import InUseError, hold

logger = logging.getLogger('basicsr.hifacegan_plugin')

FRAMES_A_SEGMENT = 100
NAMED_PROBLEMS = 5  # further problems are only counted


def restore_video(
    restore: Callable[[np.ndarray], np.ndarray],
    source: Path,
    target: Path,
    options: VideoOptions = DEFAULTS,
    resume: bool = False,
    network: str = '',
) -> int:
    """Restore every frame of ``source`` into ``target``, and copy its other streams.

    Args:
        restore: maps RGB ``(H, W, 3)``, uint8, or uint16 where the video has more than 8 bits, to the same.
        source: a video that PyAV reads.
        target: ``.mp4``, ``.mov`` or ``.mkv``; written completely or not at all.
        options: codec, quality and smoothing.
        resume: continue from the segments of a stopped run with the same source, options and network.
        network: text that identifies what ``restore`` computes, for ``resume``.

    Returns:
        The number of frames.

    Raises:
        VideoError: if another process restores into ``target``, or nothing can be read or
            written. Also after the result is written, if it is incomplete: a frame that could not be restored is the
            input frame; a frame that could not be decoded is missing, and the previous one is shown longer; if the
            video ends early, the suffix ``.incomplete`` marks the result.
    """
    folder = target.with_name(f'.{target.name}.segments')
    with _held(target):
        look = read_look(source)
        try:
            _open_folder(folder, _identity(source, options, network), resume)
            work = _write_segments(restore, source, look, folder, options)
            joined = folder / f'result{target.suffix}'
            join(source, work.segments, look.aspect, joined)
            result = target.with_stem(f'{target.stem}.incomplete') if work.missing else target
            joined.replace(result)
        except VideoError:  # resuming would not help
            rmtree(folder, ignore_errors=True)
            raise
        finally:
            if not any(folder.glob('*.mp4')):  # nothing to resume from
                rmtree(folder, ignore_errors=True)
        rmtree(folder, ignore_errors=True)
    _report(work, result)
    return sum(len(segment.times) for _, segment in work.segments)


@contextmanager
def _held(target: Path) -> Iterator[None]:
    """Lock the result against other processes, and turn errors of writing into a ``VideoError``.

    Raises:
        VideoError: another process restores into ``target``, or it cannot be written.
    """
    try:
        with hold(target.with_name(f'.{target.name}.lock')):
            yield
    except InUseError as owner:
        raise VideoError(
            f'is being restored into {target} by {owner}: wait for it, or choose another output folder'
        ) from owner
    except (OSError, av.FFmpegError) as error:
        raise VideoError(f'cannot be written ({error.strerror or error})') from error


class _Work(NamedTuple):
    """The finished work.

    Attributes:
        segments: every segment and its file.
        problems: those found after the last segment.
        missing: how the video ends too early; None if it is complete.
    """

    segments: list[tuple[Path, Segment]]
    problems: list[str]
    missing: str | None


def _identity(source: Path, options: VideoOptions, network: str) -> str:
    """Return text that is equal for runs whose segments are interchangeable."""
    about = source.stat()
    return json.dumps(
        {'source': [str(source.resolve()), about.st_size, about.st_mtime_ns], 'av': version('av'), 'network': network}
        | asdict(options)
    )


def _open_folder(folder: Path, identity: str, resume: bool) -> None:
    """Make the folder of segments; empty it unless its work is resumed."""
    note = folder / 'identity.json'
    if folder.exists():
        same = note.exists() and note.read_text(encoding='utf-8') == identity
        if resume and not same:
            logger.warning(f'{folder}: made with other options, weights or input; starting over')
        if not (resume and same):
            rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob('.*.part*'):  # left by a killed run
        left.unlink()
    with whole_file(note) as part:
        part.write_text(identity, encoding='utf-8')


def _write_segments(
    restore: Callable[[np.ndarray], np.ndarray], source: Path, look: Look, folder: Path, options: VideoOptions
) -> _Work:
    """Restore the segments that ``folder`` does not hold yet."""
    codec = CODECS[options.codec]
    encoder_options = {'crf': str(codec.crf if options.crf is None else options.crf), **codec.options}
    segments = _segments_in(folder)
    done = sum(len(segment.times) for _, segment in segments)
    smoother = Smoother() if options.temporal else None
    problems: list[str] = []
    with open_video(source) as container:
        reader = FrameReader(container)
        decoded = iter(reader)
        last = _skip(decoded, done)
        if smoother and last:
            smoother.start_after(to_rgb(last, look), np.load(segments[-1][0].with_suffix('.npy')))
        total = reader.stream.frames or None
        shown = tqdm(decoded, total=total, initial=done, unit='frame', leave=False, disable=None)
        frames = _restored(restore, shown, look, smoother, problems, done)
        for first in frames:
            path = folder / f'{len(segments):06}.mp4'
            with whole_file(path) as part:
                with part.open('wb') as file:
                    group = chain([first], islice(frames, FRAMES_A_SEGMENT - 1))
                    segment = encode_segment(file, look, codec.encoder, encoder_options, group)
                segment.problems.extend(problems)
                problems.clear()
                segment.write(path.with_suffix('.json'))
                if smoother and smoother.result is not None:
                    np.save(path.with_suffix('.npy'), smoother.result)
            if segments:
                segments[-1][0].with_suffix('.npy').unlink(missing_ok=True)
            segments.append((path, segment))
    return _Work(segments, problems, reader.frames_missing)


def _segments_in(folder: Path) -> list[tuple[Path, Segment]]:
    paths = takewhile(Path.exists, (folder / f'{number:06}.mp4' for number in count()))
    return [(path, Segment.read(path.with_suffix('.json'))) for path in paths]


def _skip(decoded: Iterator[Decoded], frames: int) -> av.VideoFrame | None:
    """Skip this number of frames; return the last skipped one."""
    last = None
    while frames:
        last = next(decoded).frame
        frames -= last is not None
    return last


def _restored(
    restore: Callable[[np.ndarray], np.ndarray],
    decoded: Iterable[Decoded],
    look: Look,
    smoother: Smoother | None,
    problems: list[str],
    restored: int,
) -> Iterator[tuple[np.ndarray, int, int]]:
    """Yield restored frames ``(H, W, 3)`` with times and durations; append their problems to ``problems``.

    Raises:
        VideoError: if no frame can be restored.
    """
    failures = 0
    reason = 'is damaged: no frame could be read'
    for frame, time, problem in decoded:
        when = f'the frame at {float(time * look.time_base):.3f} s'
        if problem:
            problems.append(f'{when} {problem}')
        if frame is None:
            continue
        rgb = to_rgb(frame, look)
        if rgb.shape != (look.height, look.width, 3):
            raise VideoError(f'changes its size, which the result cannot: {when} has another than the first')
        try:
            result = restore(rgb)
            result = smoother(rgb, result) if smoother else result
            restored += 1
        except ValueError as error:
            result, reason, failures = rgb, str(error), failures + 1
            problems.append(f'{when} is that of the input ({error})')
            if not restored and failures == FRAMES_A_SEGMENT:
                break
        yield result, time, frame.duration
    if not restored:
        raise VideoError(reason)


def _report(work: _Work, result: Path) -> None:
    """Raise an error if the result is incomplete."""
    problems = [problem for _, segment in work.segments for problem in segment.problems] + work.problems
    shown = '; '.join(problems[:NAMED_PROBLEMS])
    if len(problems) > NAMED_PROBLEMS:
        shown += f'; and {len(problems) - NAMED_PROBLEMS} more'
    if work.missing:
        raise VideoError(f'is damaged: {work.missing}; that is in {result}' + (f'; {shown}' if shown else ''))
    if problems:
        raise VideoError(f'is not restored in all frames: {shown}; the others are in {result}')
