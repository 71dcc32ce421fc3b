"""Results that were made elsewhere: a folder of images takes the place of a restorer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from hifacegan_plugin.compare.folder import Folder, open_log, read_rgb, remove_images, restored
from hifacegan_plugin.images.sources import ImageSource, find_images, read_image
from hifacegan_plugin.images.writing import write_png
from hifacegan_plugin.schema.comparison import TRUTH

Found = dict[str, list[ImageSource]]  # by the name that they have without suffix


def take_results(
    label: str, options: dict[str, Any], images: Mapping[str, list[str]], made_from: dict[str, Any], folder: Folder
) -> dict[str, Any]:
    """Take the results for the images of the test sets, unless that was done before.

    One that is missing, cannot be read or has not the size of the ground truth is logged; the rest goes on.

    Args:
        label: of the restorer that they stand for.
        options: of :class:`~hifacegan_plugin.schema.comparison.FolderOptions`.
        images: names of the images of each test set.
        made_from: of each test set, what the results depend on.
        folder: the output folder.

    Returns:
        A summary, whose ``error`` says why nothing could be taken.
    """
    summary: dict[str, Any] = {}
    for test_set, names in images.items():
        done = restored(folder, test_set, label, made_from[test_set])
        if not done:
            remove_images(folder, test_set, label)
        taken = {record['name'] for record in done}
        with open_log(folder.log(test_set, label, 'restored'), made_from[test_set], done) as append:
            try:
                found = find_results(options, test_set)
            except (ValueError, OSError) as error:
                summary['error'] = str(error)
                continue
            for name in names:
                if name not in taken:
                    append({'name': name} | _take(found, options['filename_tmpl'], test_set, label, name, folder))
    return summary


def find_results(options: dict[str, Any], test_set: str) -> Found:
    """Find the results for a test set: in the folder of its name, if there is one.

    Raises:
        ValueError, OSError: there is no such folder, or no image in it.
    """
    root = Path(options['dataroot']).expanduser()
    own = root / test_set
    found: Found = {}
    for image in find_images(str(own if own.is_dir() else root), 'disk', option='dataroot'):
        found.setdefault(image.stem, []).append(image)
    return found


def _take(found: Found, template: str, test_set: str, label: str, name: str, folder: Folder) -> dict[str, str]:
    """Copy the result for an image into the output folder; return nothing, or an ``error``."""
    try:
        image = _read(found, template.format(name))
        truth = read_rgb(folder.image(test_set, TRUTH, name))
        if image.shape != truth.shape:
            height, width = truth.shape[:2]
            raise ValueError(
                f'the result has {image.shape[1]}x{image.shape[0]} pixels, and the ground truth {width}x{height}'
            )
    except (ValueError, OSError) as error:
        return {'error': str(error)}
    write_png(folder.image(test_set, label, name), image)
    return {}


def _read(found: Found, name: str) -> np.ndarray:
    """Read a result; uint8 RGB ``(H, W, 3)``.

    Raises:
        ValueError, OSError: there is none or more than one of this name, or it cannot be read.
    """
    images = found.get(name, [])
    if len(images) > 1:
        raise ValueError(f'there are several results: {", ".join(map(str, images))}')
    if not images:
        raise ValueError(f'there is no result named {name}')
    return cv2.cvtColor(read_image(images[0]), cv2.COLOR_BGR2RGB)
