"""Restore the faces in photograph files, and report on them."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

import numpy as np

from hifacegan_plugin.images.image_error import ImageError
from hifacegan_plugin.restore.faces import IDENTITY_LIMIT, RestoredFace
from hifacegan_plugin.restore.files import RestorePixels, restore_image_file

logger = logging.getLogger('basicsr.hifacegan_plugin')


def restore_faces_file(
    restore: RestorePixels,
    results: Path,
    source: Path,
    target: Path,
    report: Path | None = None,
    crops: Path | None = None,
    **options: Any,
) -> None:
    """Restore one photograph with :func:`~hifacegan_plugin.restore.files.restore_image_file`, and report on its faces.

    Warnings are logged for a photograph without a face, and for a face whose identity distance exceeds the limit.

    Args:
        restore: like :func:`~hifacegan_plugin.restore.faces.restore_faces`.
        results: the folder of the results; ``crops`` mirrors its subfolders.
        source: the image file.
        target: written completely or not at all.
        report: file to which a line for each face is appended, see :func:`describe`; several processes and runs may
            share it. None: no report.
        crops: folder for the aligned crops before and after; None: no crops.
        **options: of ``restore_image_file``.

    Raises:
        ImageError: if the image cannot be read or a file cannot be written.
    """
    name = crops / target.relative_to(results) if crops else None
    faces = restore_image_file(restore, source, target, crops=name, **options)
    _warn(source, faces)
    if report:
        lines = (describe(face, number) for number, face in enumerate(faces, start=1))
        _append(report, [{'photograph': str(source), 'result': str(target), **line} for line in lines])


def describe(restored: RestoredFace, number: int) -> dict[str, Any]:
    """Return the report entry of a face.

    Returns:
        ``face``: number in the photograph; 1 is the largest. ``box``: left, top, right and bottom of the upright
        rectangle around the aligned square, in pixels of the upright photograph; it may extend beyond the photograph.
        ``size``: side of the square. ``roll``, ``yaw``: degrees. ``score``: confidence of the detector. ``strength``:
        strength of the restoration. ``identity_distance``: between the crops before and after.
    """
    face = restored.face
    return {
        'face': number,
        'box': np.round([*face.square.corners.min(0), *face.square.corners.max(0)], 1).tolist(),
        'size': round(face.square.side, 1),
        'roll': round(face.square.roll, 1),
        'yaw': round(face.landmarks.yaw, 1),
        'score': round(face.score, 3),
        'strength': round(restored.strength, 3),
        'identity_distance': round(restored.identity_distance, 4),
    }


def _warn(source: Path, faces: list[RestoredFace]) -> None:
    if not faces:
        logger.warning(f'{source}: no face restored: no frontal face of --min-face or larger found.')
    for number, face in enumerate(faces, start=1):
        if face.exceeds_identity_limit:
            logger.warning(
                f'{source}: face {number} may look like another person now: identity distance '
                f'{face.identity_distance:.2f}, above {IDENTITY_LIMIT}. --keep-identity lowers the strength.'
            )


def _append(report: Path, records: list[dict[str, Any]]) -> None:
    """Append all lines in a single write, so that lines of several processes do not mix."""
    text = ''.join(json.dumps(record) + '\n' for record in records)
    try:
        with report.open('ab', buffering=0) as file:
            os.write(file.fileno(), text.encode())
    except OSError as error:
        raise ImageError(f'is restored, but {report} cannot be written ({error.strerror})') from error
