"""A folder of images that another program restored, compared like a restorer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from hifacegan_plugin.compare.job import Job
from hifacegan_plugin.images.sources import ImageSource, find_images, read_image
from hifacegan_plugin.images.writing import write_png
from hifacegan_plugin.schema.comparison import TRUTH, FolderOptions

Found = dict[str, list[ImageSource]]  # images by name without suffix


def copy_results(job: Job) -> dict[str, Any]:
    """Copy the results for the test sets into the output folder; those copied before are kept.

    A result that is missing, unreadable or of a different size than the ground truth is logged and skipped.

    Args:
        job: the job of the restorer ``type: folder``.

    Returns:
        A summary; its ``error``, if any, says why a test set has no results.
    """
    options = FolderOptions.model_validate(job.options)
    summary: dict[str, Any] = {}
    job.remove_outdated_images()
    for test_set in job.images:
        with job.remaining(test_set) as (pending, append):
            try:
                found = find_results(options, test_set)
            except (ValueError, OSError) as error:
                summary['error'] = str(error)
                continue
            for name in pending:
                append({'name': name} | _copy(found, options.filename_tmpl.format(name), job, test_set, name))
    return summary


def find_results(options: FolderOptions, test_set: str) -> Found:
    """Find the results for a test set: in its own subfolder if that exists, otherwise in the folder itself.

    Raises:
        ValueError, OSError: the folder does not exist or has no images.
    """
    root = Path(options.dataroot).expanduser()
    own = root / test_set
    found: Found = {}
    for image in find_images(str(own if own.is_dir() else root), 'disk', option='dataroot'):
        found.setdefault(image.stem, []).append(image)
    return found


def _copy(found: Found, result: str, job: Job, test_set: str, name: str) -> dict[str, str]:
    """Copy the result for an image into the output folder; return ``{'error': ...}`` if that fails."""
    try:
        image = _read(found, result)
        truth = job.folder.read_image(test_set, TRUTH, name)
        if image.shape != truth.shape:
            height, width = truth.shape[:2]
            raise ValueError(
                f'the result has {image.shape[1]}x{image.shape[0]} pixels, and the ground truth {width}x{height}'
            )
    except (ValueError, OSError) as error:
        return {'error': str(error)}
    write_png(job.folder.image(test_set, job.label, name), image)
    return {}


def _read(found: Found, name: str) -> np.ndarray:
    """Read the result of this name, as uint8 RGB ``(H, W, 3)``.

    Raises:
        ValueError, OSError: it is missing, not unique or unreadable.
    """
    images = found.get(name, [])
    if len(images) > 1:
        raise ValueError(f'there are several results: {", ".join(map(str, images))}')
    if not images:
        raise ValueError(f'there is no result named {name}')
    return cv2.cvtColor(read_image(images[0]), cv2.COLOR_BGR2RGB)
