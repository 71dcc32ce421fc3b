"""Videos, frame by frame. Sound is not kept."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from hifacegan_plugin.atomic import whole_file
from hifacegan_plugin.restore.pictures import PictureError

logger = logging.getLogger('basicsr.hifacegan_plugin')

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
        PictureError: if there is no frame to read or the result cannot be written.
    """
    capture = cv2.VideoCapture(str(source))
    try:
        rate, announced = capture.get(cv2.CAP_PROP_FPS), int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        size = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        if not capture.isOpened() or not rate or not all(size):
            raise PictureError('is not a video that can be read')
        with whole_file(target) as part:
            frames = _restore_frames(restore, capture, announced, cv2.VideoWriter(str(part), _codec(), rate, size))
            if frames == 0:
                raise PictureError('is damaged: no frame could be read')
    finally:
        capture.release()
    if frames < announced:  # which may be an estimate
        logger.warning(f'{source}: announces {announced} frames, of which {frames} could be read.')
    return frames


def _codec() -> int:
    return cv2.VideoWriter.fourcc(*CODEC)


def _restore_frames(
    restore: Callable[[np.ndarray], np.ndarray], capture: cv2.VideoCapture, announced: int, writer: cv2.VideoWriter
) -> int:
    if not writer.isOpened():
        raise PictureError('the result cannot be written: check the folder, and that OpenCV can encode video')
    frames = 0
    try:
        with tqdm(total=announced or None, unit='frame', leave=False, disable=None) as bar:
            while (read := capture.read())[0]:
                writer.write(cv2.cvtColor(restore(cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB)), cv2.COLOR_RGB2BGR))
                frames += 1
                bar.update()
    finally:
        writer.release()
    return frames
