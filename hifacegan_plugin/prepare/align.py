"""Crop aligned faces from a folder of photographs: ``hifacegan align``."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from hifacegan_plugin.faces.alignment import Square, cut, share_inside, to_image
from hifacegan_plugin.faces.finding import Face, find_faces, load_detector
from hifacegan_plugin.faces.landmarks import Model, load_model
from hifacegan_plugin.images.decoding import as_8_bit_bgr, decode, without_alpha
from hifacegan_plugin.images.files import read_file
from hifacegan_plugin.images.image_error import ImageError
from hifacegan_plugin.images.lmdb_keys import lmdb_keys
from hifacegan_plugin.images.opening import MAX_PIXELS, open_checked
from hifacegan_plugin.prepare.resumable_build import Outcome, Run, Summary, build
from hifacegan_plugin.prepare.stores import LmdbWriter, PlainFolder, png_entry
from hifacegan_plugin.prepare.worker_pool import map_in_processes

FACES = 'faces.jsonl'  # descriptions of the faces, in the target
IMAGES = 'images'  # folder of the crops, unless the target is a database


@dataclass(frozen=True)
class Options:
    """Options for cropping faces.

    Attributes:
        side: side of the crops, in pixels.
        margin: additional margin on each side, relative to the side of FFHQ's square.
        every_face: crop all faces of a photograph, not only the largest.
        min_face: reject faces for which FFHQ's square has a smaller side, in pixels of the photograph.
        max_yaw: reject faces with a larger yaw, in degrees.
        max_roll: reject faces with a larger roll, in degrees.
        min_sharpness: reject faces with less sharp crops, see :func:`sharpness`.
        landmarks: landmark model, see :func:`hifacegan_plugin.faces.landmarks.locate`.
        compression_level: compression level of PNG files, 1 to 9.
        max_pixels: reject photographs with more pixels without decoding them.
    """

    side: int = 512
    margin: float = 0.0
    every_face: bool = False
    min_face: int = 128
    max_yaw: float | None = None
    max_roll: float | None = None
    min_sharpness: float = 0.0
    landmarks: Model = '68'
    compression_level: int = 1
    max_pixels: int = MAX_PIXELS


def align(folder: Path, names: Sequence[str], target: Path, options: Options, run: Run) -> Summary:
    """Make a database or a folder of the aligned faces of photographs.

    Args:
        folder: folder with the photographs.
        names: unique file names of the photographs, relative to the folder.
        target: ``NAME.lmdb``, or a folder; PNG files go into its subfolder ``images``. In both cases,
            ``faces.jsonl`` in the target stores the results of :func:`describe`.
        options: how faces are cropped.
        run: how the build runs.

    Returns:
        How many photographs have an accepted face, and how many have none.

    Raises:
        FaceModelsMissingError: dlib or a model file is missing.
        BuildError: nothing was made; the message says why and what to do.
    """
    load_detector()  # load the models before the workers are forked, so that all share them
    load_model(options.landmarks)
    keys = lmdb_keys(names)
    crop_store, writer = ('.', LmdbWriter) if is_database(target) else (IMAGES, PlainFolder)

    def prepare_all(left: Sequence[str]) -> Iterator[Outcome]:
        photographs = ((name, keys[name]) for name in left)
        return map_in_processes(partial(prepare, folder, options, crop_store), run.jobs, photographs)

    return build(target, names, asdict(options), {crop_store: writer}, prepare_all, run, write_faces)


def is_database(target: Path) -> bool:
    """Return whether the target is a database."""
    return target.suffix == '.lmdb'


def write_faces(folder: Path, faces: list[dict[str, Any]]) -> None:
    """Write ``faces.jsonl`` into a folder."""
    with (folder / FACES).open('w', encoding='utf-8') as file:
        file.writelines(json.dumps(face) + '\n' for face in faces)
        file.flush()
        os.fsync(file.fileno())


def read_faces(target: Path) -> list[dict[str, Any]]:
    """Read the descriptions of the faces in a finished target, see :func:`describe`."""
    return [json.loads(line) for line in (target / FACES).read_text(encoding='utf-8').splitlines()]


def prepare(folder: Path, options: Options, crop_store: str, photograph: tuple[str, str]) -> Outcome:
    """Return the crops of the faces in a photograph (name, key) and their descriptions, or why there are none."""
    name, key = photograph
    try:
        pixels = without_alpha(decode(open_checked(read_file(folder / name, options.max_pixels), options.max_pixels)))
    except ImageError as error:
        return Outcome({}, rejected=str(error))
    rgb = cv2.cvtColor(as_8_bit_bgr(pixels), cv2.COLOR_BGR2RGB)
    found = find_faces(rgb, options.min_face, options.landmarks)
    if not found:
        return Outcome(
            {},
            rejected='has no face that the detector finds (it misses profiles; for smaller faces, lower --min-face)',
        )
    crops, records, reasons = [], [], []
    for number, face in enumerate(found if options.every_face else found[:1], start=1):
        face_key = f'{key}_face{number}' if options.every_face else key
        square = face.square.with_margin(options.margin)
        crop = cut(pixels, square, options.side)
        reason = rejection_reason(face, crop, options)
        description = describe(face, square, crop, pixels.shape)
        records.append({'key': face_key, 'photograph': name, **description, 'rejected': reason})
        if reason is None:
            crops.append(png_entry(face_key, crop, options.compression_level))
        else:
            reasons.append(reason)
    if not crops:
        count = f'{len(found)} face{"s" * (len(found) > 1)}'
        return Outcome({}, rejected=f'has {count}, none accepted: {"; ".join(reasons)}')
    return Outcome({crop_store: crops}, notes=records)


def rejection_reason(face: Face, crop: np.ndarray, options: Options) -> str | None:
    """Return why a face is rejected; None if it is accepted."""
    if face.square.side < options.min_face:
        return f'{face.square.side:.0f} pixels, less than --min-face {options.min_face}'
    if options.max_yaw is not None and abs(face.landmarks.yaw) > options.max_yaw:
        return f'turned aside by {abs(face.landmarks.yaw):.0f} degrees, more than --max-yaw {options.max_yaw:g}'
    if options.max_roll is not None and abs(face.square.roll) > options.max_roll:
        return f'tilted by {abs(face.square.roll):.0f} degrees, more than --max-roll {options.max_roll:g}'
    if (found := sharpness(crop)) < options.min_sharpness:
        return f'sharpness {found:.2f}, less than --min-sharpness {options.min_sharpness:g}'
    return None


def describe(face: Face, square: Square, crop: np.ndarray, shape: tuple[int, ...]) -> dict[str, Any]:
    """Return the description of a face for ``faces.jsonl``.

    Args:
        face: the face.
        square: square that was cropped.
        crop: crop of the face, ``(side, side)`` or ``(side, side, 3)``.
        shape: shape of the photograph, ``(H, W)`` or ``(H, W, C)``.

    Returns:
        ``size``: width and height of the upright photograph. ``side``: side of the crop. ``crop_to_photograph``: a
        ``(2, 3)`` matrix that maps x and y in the crop to x and y in the photograph; pixel centres have integer
        coordinates. ``square``: side of the square in pixels of the photograph. ``inside``: share of the square inside
        the photograph; the rest is filled by reflection. ``eyes``, ``nose``, ``mouth``: landmarks in the photograph.
        ``roll``, ``yaw``: in degrees. ``sharpness``: see :func:`sharpness`. ``score``: confidence of the detector.
    """
    height, width = shape[:2]
    side = crop.shape[0]
    return {
        'size': [width, height],
        'side': side,
        'crop_to_photograph': np.round(to_image(square, side), 6).tolist(),
        'square': round(square.side, 2),
        'inside': round(share_inside(square, width, height), 4),
        **{name: np.round(points, 2).tolist() for name, points in face.landmarks._asdict().items()},
        'roll': round(square.roll, 2),
        'yaw': round(face.landmarks.yaw, 1),
        'sharpness': round(sharpness(crop), 3),
        'score': round(face.score, 3),
    }


def sharpness(crop: np.ndarray) -> float:
    """Return the sharpness of a crop: the standard deviation of the Laplacian divided by that of the luma.

    Only the middle half of the crop counts. The sharpness does not depend on the contrast. It is low if the crop was
    enlarged or is out of focus. It also decreases with the side of the crop, so compare only crops of the same side.

    Args:
        crop: ``(side, side)`` or ``(side, side, 3)`` BGR, uint8 or uint16.
    """
    grey = cv2.cvtColor(as_8_bit_bgr(crop), cv2.COLOR_BGR2GRAY).astype(np.float32)
    margin = len(grey) // 4
    middle = grey[margin : len(grey) - margin, margin : len(grey) - margin]
    return float(cv2.Laplacian(middle, cv2.CV_32F).std() / max(middle.std(), 1.0))
