"""Reduce flicker: average results along the motion of the input where the input changes by motion only."""

from __future__ import annotations

import cv2
import numpy as np

KEPT = 0.8  # weight of the previous result where the input is unchanged: results weigh 0.2, 0.16, 0.128, ...
TOLERANCE = 8.0  # levels of 255: a smoothed input difference of this size divides that weight by e
NOISE_BLUR = 2.0  # pixels: standard deviation of the Gaussian that removes noise from these differences


class Smoother:
    """Averages restored frames exponentially along the motion of their inputs.

    Motion is dense optical flow between the inputs (DIS: Kroeger et al., "Fast Optical Flow using Dense Inverse
    Search", ECCV 2016). Where an input differs from the motion-compensated previous input by more than noise, its own
    result is used.

    Attributes:
        frame: the previous input, float32 ``(H, W, 3)``, 0 to 255; None before the first.
        result: the smoothed result for that input, in the same form.
    """

    def __init__(self) -> None:
        self.frame: np.ndarray | None = None
        self.result: np.ndarray | None = None
        self._flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

    def start_after(self, frame: np.ndarray, result: np.ndarray) -> None:
        """Continue after an input, uint8 or uint16 ``(H, W, 3)``, and its :attr:`result`."""
        self.frame, self.result = frame * np.float32(255 / np.iinfo(frame.dtype).max), result

    def __call__(self, frame: np.ndarray, restored: np.ndarray) -> np.ndarray:
        """Return ``restored``, uint8 or uint16 ``(H, W, 3)``, smoothed, given the input that it was restored from."""
        scale = np.float32(255 / np.iinfo(restored.dtype).max)
        levels, result = frame * scale, restored * scale
        if self.frame is not None and self.result is not None:
            steps = self._flow.calc(_for_matching(levels), _for_matching(self.frame), None)
            changes = np.abs(cv2.GaussianBlur(levels - _moved(self.frame, steps), (0, 0), NOISE_BLUR)).max(axis=2)
            share = KEPT * np.exp(-((changes / TOLERANCE) ** 2))
            result += share[..., None] * (_moved(self.result, steps) - result)
        self.frame, self.result = levels, result
        return np.rint(result / scale).clip(0, np.iinfo(restored.dtype).max).astype(restored.dtype)


def _for_matching(levels: np.ndarray) -> np.ndarray:
    """Return the input of the optical flow: denoised uint8 grey."""
    grey = cv2.cvtColor(levels, cv2.COLOR_RGB2GRAY)
    return np.rint(cv2.GaussianBlur(grey, (0, 0), NOISE_BLUR / 2)).astype(np.uint8)


def _moved(pixels: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Warp ``pixels (H, W, 3)``: sample each pixel at its position plus ``steps (H, W, 2)``, in x and y."""
    height, width = steps.shape[:2]
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return cv2.remap(pixels, x + steps[..., 0], y + steps[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
