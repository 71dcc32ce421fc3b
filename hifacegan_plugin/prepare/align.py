"""Cutting aligned faces out of a folder of photographs: ``hifacegan align``."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from hifacegan_plugin.faces.alignment import Square, cut, share_inside, to_image
from hifacegan_plugin.faces.detection import load_detector
from hifacegan_plugin.faces.finding import Face, find_faces
from hifacegan_plugin.faces.landmarks import Model, load_model
from hifacegan_plugin.images.decoding import as_8_bit_bgr, decode, without_alpha
from hifacegan_plugin.images.files import read_file
from hifacegan_plugin.images.image_error import ImageError
from hifacegan_plugin.images.lmdb_keys import lmdb_keys
from hifacegan_plugin.images.opening import MAX_PIXELS, open_checked
from hifacegan_plugin.prepare.resumable_build import Outcome, Run, Summary, build
from hifacegan_plugin.prepare.stores import COPIED, Entry, JsonLines, LmdbWriter, PlainFolder, Store, png_entry
from hifacegan_plugin.prepare.worker_pool import map_in_processes

FACES = 'faces.jsonl'  # what is known of each face, below the target
IMAGES = 'images'  # folder of the crops, where the target is not a database


@dataclass(frozen=True)
class Options:
    """What is done to each photograph.

    Attributes:
        side: of the crops, in pixels.
        margin: surroundings that are cut out, too, at each side, as a share of the side of FFHQ's square.
        every_face: cut out all faces of a photograph, not only the largest.
        min_face: side of the smallest of FFHQ's squares that is taken, in pixels of the photograph.
        max_yaw: reject faces that are turned aside by more degrees.
        max_roll: reject faces that are tilted by more degrees.
        min_sharpness: reject faces whose crops are less sharp, see :func:`sharpness`.
        landmarks: model of the landmarks, see :func:`hifacegan_plugin.faces.landmarks.locate`.
        compression_level: of the PNG encoder, 1 to 9.
        max_pixels: photographs with more are rejected without decoding.
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
    """Make a database, or a folder, of the aligned faces of photographs.

    Args:
        folder: the photographs.
        names: of the photographs: relative to the folder, each once.
        target: ``NAME.lmdb``, or a folder whose ``images`` gets PNG files. ``faces.jsonl`` in it tells of each face
            what :func:`describe` returns.
        options: what is done to each photograph.
        run: how the build runs.

    Returns:
        How many photographs had a face that was taken, and how many had none.

    Raises:
        FaceModelsMissingError: dlib or a model file is missing.
        BuildError: nothing could be made; the message says why and what to do.
    """
    load_detector()  # here, once for all processes, which are forked from this one
    load_model(options.landmarks)
    keys = lmdb_keys(names)
    crops_go_to, crops_by = ('.', LmdbWriter) if is_database(target) else (IMAGES, PlainFolder)

    def prepare_all(left: Sequence[str]) -> Iterator[Outcome]:
        photographs = ((name, keys[name]) for name in left)
        return map_in_processes(partial(prepare, folder, options, crops_go_to), run.jobs, photographs)

    stores: dict[str, Callable[[Path], Store]] = {crops_go_to: crops_by, FACES: JsonLines}
    return build(target, names, asdict(options), stores, prepare_all, run)


def is_database(target: Path) -> bool:
    """Return whether the crops go into a database."""
    return target.suffix == '.lmdb'


def read_faces(target: Path) -> list[dict[str, Any]]:
    """Read what is known of the faces of a finished target, see :func:`describe`."""
    return [json.loads(line) for line in (target / FACES).read_text(encoding='utf-8').splitlines()]


def prepare(folder: Path, options: Options, crops_go_to: str, photograph: tuple[str, str]) -> Outcome:
    """Turn one photograph, (name, key), into the entries of its faces, or into the reason why there are none."""
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
            rejected='has no face that the detector finds (it finds no profiles; for smaller faces, lower --min-face)',
        )
    crops, records, reasons = [], [], []
    for number, face in enumerate(found if options.every_face else found[:1], start=1):
        face_key = f'{key}_face{number}' if options.every_face else key
        square = face.square.with_margin(options.margin)
        crop = cut(pixels, square, options.side)
        reason = why_not(face, crop, options)
        description = describe(face, square, crop, pixels.shape)
        record = {'key': face_key, 'photograph': name, **description, 'rejected': reason}
        records.append(Entry(face_key, json.dumps(record).encode(), (0, 0, 0), COPIED))
        if reason is None:
            crops.append(png_entry(face_key, crop, options.compression_level))
        else:
            reasons.append(reason)
    if not crops:
        return Outcome({}, rejected=f'has {len(found)} face{"s" * (len(found) > 1)}, none taken: {"; ".join(reasons)}')
    return Outcome({crops_go_to: crops, FACES: records})


def why_not(face: Face, crop: np.ndarray, options: Options) -> str | None:
    """Return why a face is not taken, or None."""
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
    """Return what ``faces.jsonl`` tells of a face.

    Args:
        face: the face.
        square: that is cut out.
        crop: what it holds, ``(side, side)`` or ``(side, side, 3)``.
        shape: of the photograph, ``(H, W)`` or ``(H, W, C)``.

    Returns:
        ``size``: width and height of the photograph, upright. ``side``: of the crop. ``crop_to_photograph``: the
        ``(2, 3)`` matrix that takes x and y in the crop to those in the photograph, whole numbers being the centres of
        pixels. ``square``: side of the cut out square in pixels of the photograph. ``inside``: the share of it that
        lies within the photograph; the rest is a reflection. ``eyes``, ``nose``, ``mouth``: landmarks in the
        photograph. ``roll``, ``yaw``: degrees. ``sharpness``: see :func:`sharpness`. ``score``: how sure the detector
        is.
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
    """Return how sharp the middle half of a crop is: the standard deviation of its Laplacian over that of its luma.

    This ratio does not depend on the contrast. It is small for crops that are enlarged or out of focus. It also
    decreases with the side of the crop, so compare only crops of the same side.

    Args:
        crop: ``(side, side)`` or ``(side, side, 3)`` BGR, uint8 or uint16.
    """
    grey = cv2.cvtColor(as_8_bit_bgr(crop), cv2.COLOR_BGR2GRAY).astype(np.float32)
    margin = len(grey) // 4
    middle = grey[margin : len(grey) - margin, margin : len(grey) - margin]
    return float(cv2.Laplacian(middle, cv2.CV_32F).std() / max(middle.std(), 1.0))
