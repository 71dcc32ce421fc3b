"""Restore files: one in, one out, whatever happens to single ones; shared out among the processes of torchrun."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch.distributed as dist
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from hifacegan_plugin.images.image_error import ImageError
from hifacegan_plugin.images.photograph import Photograph
from hifacegan_plugin.images.photograph_files import read_photograph, write_photograph
from hifacegan_plugin.images.resizing import resize
from hifacegan_plugin.restore.planning import Failure, Task, sheet_of
from hifacegan_plugin.restore.videos.options import VIDEOS

RestoreFile = Callable[[Path, Path], object]  # restores the file of one path into another


class Tally(NamedTuple):
    """What became of the files."""

    restored: int
    done_before: int
    failures: list[Failure]


def restore_files(tasks: list[Task], restore_image: RestoreFile, restore_video: RestoreFile, resume: bool) -> Tally:
    """Restore the share of this process in the files, and add up what became of all of them.

    Args:
        tasks: of all processes, in one order.
        restore_image: restores an image, see :func:`restore_image_file`.
        restore_video: restores a video.
        resume: leave out those whose results exist.
    """
    rank, processes = int(os.environ.get('RANK', 0)), int(os.environ.get('WORLD_SIZE', 1))
    share = tasks[rank::processes]
    waiting = [task for task in share if not (resume and task.target.exists())]
    done_before, failures = len(share) - len(waiting), []
    position = int(os.environ.get('LOCAL_RANK', 0))
    with logging_redirect_tqdm([logging.getLogger('basicsr')]):
        for task in tqdm(waiting, unit='image', disable=None, position=position):
            if resume and task.target.exists():  # meanwhile, by another run beside this
                done_before += 1
                continue
            restore = restore_video if task.source.suffix.lower() in VIDEOS else restore_image
            if failure := attempt(task, restore):
                failures.append(failure)
    tally = Tally(len(share) - done_before - len(failures), done_before, failures)
    return _join_tallies(tally) if processes > 1 else tally


def restore_image_file(
    restore: Callable[[np.ndarray], np.ndarray], source: Path, target: Path, max_pixels: int, sheet: bool = False
) -> None:
    """Restore one image, keeping what its file says of it.

    Args:
        restore: maps pixels as :class:`~hifacegan_plugin.images.photograph_files.Photograph` holds them to the same, or
            to larger ones.
        source: of up to ``max_pixels``.
        target: appears whole or not at all.
        max_pixels: larger images are refused.
        sheet: also write input and result side by side, see :func:`~hifacegan_plugin.restore.planning.sheet_of`.

    Raises:
        ImageError: if it cannot be read or the result cannot be written.
    """
    photograph = read_photograph(source, max_pixels)
    write_result(target, photograph, restore(photograph.pixels), sheet)


def write_result(target: Path, photograph: Photograph, restored: np.ndarray, sheet: bool) -> None:
    """Write restored pixels with what the photograph's file said of it; with ``sheet``, input and result side by side.

    Raises:
        ImageError: if they cannot be written.
    """
    if sheet:
        height, width = restored.shape[:2]
        before = resize(photograph.pixels, height, width, 'nearest')  # where a network enlarges
        side_by_side = np.concatenate([before, restored], axis=1)
        write_photograph(sheet_of(target), photograph.in_same_colours(side_by_side))
    write_photograph(target, replace(photograph, pixels=restored))


def attempt(task: Task, restore: RestoreFile) -> Failure | None:
    """Call ``restore(source, target)``, and return why if that fails."""
    try:
        if not task.source.is_file() and task.source.exists():  # a pipe, a device: reading it may never end
            raise ImageError('is no regular file')
        restore(*task)
    except (ValueError, OSError, RuntimeError, MemoryError, cv2.error) as error:
        return Failure(task.source, str(error) or type(error).__name__)  # a MemoryError often says nothing
    return None


def _join_tallies(tally: Tally) -> Tally:
    """Wait for all processes, because torchrun ends the others as soon as one exits with an error; add them up."""
    dist.init_process_group('gloo', timeout=timedelta(days=30))
    tallies = [tally] * dist.get_world_size()
    dist.all_gather_object(tallies, tally)
    dist.destroy_process_group()
    restored, done_before, failures = zip(*tallies)
    return Tally(sum(restored), sum(done_before), [failure for share in failures for failure in share])
