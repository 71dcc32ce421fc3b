"""Videos, frame by frame. Sound is not kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from hifacegan_plugin.atomic import whole_file
from hifacegan_plugin.restore.pictures import PictureError

VIDEOS = ('.mp4', '.mkv', '.avi', '.mov', '.webm')
CODEC = 'mp4v'  # the one that every build of OpenCV can write into .mp4


def restore_video(restore: Callable[[np.ndarray], np.ndarray], source: Path, target: Path) -> int:
    """Restore every frame of ``source`` into ``target`` (``.mp4``), at the same rate.

    Args:
        restore: maps uint8 RGB ``(H, W, 3)`` to the same.
        source: a video that OpenCV reads.
        target: appears whole or not at all.

    Returns:
        The number of frames.

    Raises:
        PictureError: if there is no frame to read or the result cannot be written; also if frames are missing, once all
            others have been restored and written, as ``.incomplete.mp4``, lest they pass for the whole.
    """
    capture = cv2.VideoCapture(str(source))
    try:
        rate, announced = capture.get(cv2.CAP_PROP_FPS), int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        if not capture.isOpened() or not rate > 0:
            raise PictureError('is not a video that can be read')
        target.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(target) as part:
            frames = _restore_frames(restore, capture, announced, part, rate)
            _check_written(part, frames)
            if frames < announced - max(2, announced // 100):  # the announcement may be an estimate
                kept = part.replace(target.with_stem(f'{target.stem}.incomplete'))
                raise PictureError(f'is damaged: {frames} of {announced} frames could be read; they are in {kept}')
    except OSError as error:
        raise PictureError(f'cannot be written ({error.strerror or error})') from error
    finally:
        capture.release()
    return frames


def _restore_frames(
    restore: Callable[[np.ndarray], np.ndarray], capture: cv2.VideoCapture, announced: int, part: Path, rate: float
) -> int:
    """Restore into ``part``; give the number of frames."""
    came, frame = capture.read()
    if not came:
        raise PictureError('is damaged: no frame could be read')
    shape, frames = frame.shape, 0
    writer = cv2.VideoWriter(str(part), cv2.VideoWriter.fourcc(*CODEC), rate, shape[1::-1])
    if not writer.isOpened():
        raise PictureError('the result cannot be written: check the folder, and that OpenCV can encode video')
    try:
        with tqdm(total=max(announced, 0) or None, unit='frame', leave=False, disable=None) as bar:
            while came:
                if frame.shape != shape:
                    raise PictureError(f'changes its size at frame {frames}, which the result cannot')
                writer.write(cv2.cvtColor(restore(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)), cv2.COLOR_RGB2BGR))
                frames += 1
                bar.update()
                came, frame = capture.read()
    finally:
        writer.release()
    return frames


def _check_written(part: Path, frames: int) -> None:
    """Read the end of what was written: OpenCV says nothing of a full disk."""
    written = cv2.VideoCapture(str(part))
    try:
        complete = int(written.get(cv2.CAP_PROP_FRAME_COUNT)) == frames
        if not (complete and written.set(cv2.CAP_PROP_POS_FRAMES, frames - 1) and written.read()[0]):
            raise PictureError('the result cannot be written whole: is the disk full?')
    finally:
        written.release()
