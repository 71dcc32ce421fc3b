"""Restore files one by one, continue after failures, and share the work among the processes of torchrun."""

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
from hifacegan_plugin.images.photograph_files import read_photograph, write_photograph
from hifacegan_plugin.images.resizing import resize
from hifacegan_plugin.restore.faces import RestoredFace
from hifacegan_plugin.restore.planning import Failure, Task, sheet_of
from hifacegan_plugin.restore.videos.options import VIDEOS

RestoreFile = Callable[[Path, Path], object]  # (source, target)
RestorePixels = Callable[[np.ndarray], tuple[np.ndarray, list[RestoredFace]]]


class Tally(NamedTuple):
    """The numbers of restored, skipped and failed files."""

    restored: int
    done_before: int
    failures: list[Failure]


def restore_files(tasks: list[Task], restore_image: RestoreFile, restore_video: RestoreFile, resume: bool) -> Tally:
    """Restore this process's share of the files, and return the results of all processes.

    Args:
        tasks: all files, in the same order in every process.
        restore_image: restores an image, see :func:`restore_image_file`.
        restore_video: restores a video.
        resume: skip files whose results exist.
    """
    rank, processes = int(os.environ.get('RANK', 0)), int(os.environ.get('WORLD_SIZE', 1))
    share = tasks[rank::processes]
    waiting = [task for task in share if not (resume and task.target.exists())]
    done_before, failures = len(share) - len(waiting), []
    position = int(os.environ.get('LOCAL_RANK', 0))
    with logging_redirect_tqdm([logging.getLogger('basicsr')]):
        for task in tqdm(waiting, unit='image', disable=None, position=position):
            if resume and task.target.exists():  # another run may have written it meanwhile
                done_before += 1
                continue
            restore = restore_video if task.source.suffix.lower() in VIDEOS else restore_image
            if failure := attempt(task, restore):
                failures.append(failure)
    tally = Tally(len(share) - done_before - len(failures), done_before, failures)
    return _join_tallies(tally) if processes > 1 else tally


def restore_image_file(
    restore: RestorePixels,
    source: Path,
    target: Path,
    max_pixels: int,
    sheet: bool = False,
    crops: Path | None = None,
) -> list[RestoredFace]:
    """Restore one image file, and keep its metadata.

    Args:
        restore: maps pixels as in :class:`~hifacegan_plugin.images.photograph.Photograph` to an array of the same type,
            of equal or larger size, and to the faces that were restored separately.
        source: the image file.
        target: written completely or not at all.
        max_pixels: larger images are refused.
        sheet: also write input and result side by side, see :func:`~hifacegan_plugin.restore.planning.sheet_of`.
        crops: also write the aligned crops of the faces, as ``CROPS_face1_before.png``, ``CROPS_face1_after.png`` and
            so on.

    Returns:
        The faces.

    Raises:
        ImageError: if the image cannot be read or a file cannot be written.
    """
    photograph = read_photograph(source, max_pixels)
    restored, faces = restore(photograph.pixels)
    if crops:
        for number, face in enumerate(faces, start=1):
            for when, pixels in (('before', face.before), ('after', face.after)):
                crop = crops.with_name(f'{crops.name}_face{number}_{when}.png')
                write_photograph(crop, photograph.in_same_colours(pixels))
    if sheet:
        height, width = restored.shape[:2]
        before = resize(photograph.pixels, height, width, 'nearest')  # if the network upscales
        side_by_side = np.concatenate([before, restored], axis=1)
        write_photograph(sheet_of(target), photograph.in_same_colours(side_by_side))
    write_photograph(target, replace(photograph, pixels=restored))
    return faces


def without_faces(restore: Callable[[np.ndarray], np.ndarray]) -> RestorePixels:
    """Return a function for :func:`restore_image_file` that restores whole images."""
    return lambda pixels: (restore(pixels), [])


def attempt(task: Task, restore: RestoreFile) -> Failure | None:
    """Call ``restore(source, target)``; return the failure, or None."""
    try:
        if not task.source.is_file() and task.source.exists():  # a pipe, a device: reading it may never end
            raise ImageError('is not a regular file')
        restore(*task)
    except (ValueError, OSError, RuntimeError, MemoryError, cv2.error) as error:
        return Failure(task.source, str(error) or type(error).__name__)  # a MemoryError often has no message
    return None


def _join_tallies(tally: Tally) -> Tally:
    """Wait for all processes and add up their tallies; torchrun kills the others as soon as one exits with an error."""
    dist.init_process_group('gloo', timeout=timedelta(days=30))
    tallies = [tally] * dist.get_world_size()
    dist.all_gather_object(tallies, tally)
    dist.destroy_process_group()
    restored, done_before, failures = zip(*tallies)
    return Tally(sum(restored), sum(done_before), [failure for share in failures for failure in share])
