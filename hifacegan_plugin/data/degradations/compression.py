"""Lossy compression."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from hifacegan_plugin.data.degradations.registry import DEGRADATIONS, Integer, Step, drawn


@DEGRADATIONS.register_module()
@dataclass
class JPEG(Step):
    """JPEG at the encoder's ``quality``, 1 being the worst; colour is stored at half the resolution."""

    quality: tuple[int, int] = drawn((17, 51), Integer(1, 100))

    def apply(self, image: np.ndarray, rng: np.random.Generator, quality: int) -> np.ndarray:
        """See :class:`Step`."""
        if image.shape[2] == 1:
            return _through_jpeg(image, quality, cv2.IMREAD_GRAYSCALE)
        bgr = _through_jpeg(cv2.cvtColor(image, cv2.COLOR_RGB2BGR), quality, cv2.IMREAD_COLOR)
        return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)


def _through_jpeg(image: np.ndarray, quality: int, mode: int) -> np.ndarray:
    encoded = cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(encoded, mode))
