"""Changes of colour, as in old prints or from cheap cameras and careless editing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hifacegan_plugin.data.degradations.registry import DEGRADATIONS, Step, Uniform, drawn
from hifacegan_plugin.images.channels import LUMA


@DEGRADATIONS.register_module()
@dataclass
class ColourShift(Step):
    """Colour cast: adds a number of grey levels to each channel; a grey image uses `red`."""

    red: tuple[float, float] = drawn((-20, 20), Uniform(at_least=-255, at_most=255))
    green: tuple[float, float] = drawn((-20, 20), Uniform(at_least=-255, at_most=255))
    blue: tuple[float, float] = drawn((-20, 20), Uniform(at_least=-255, at_most=255))

    def apply(self, image: np.ndarray, rng: np.random.Generator, **shifts: float) -> np.ndarray:
        """See :class:`Step`."""
        return _whole(image + np.array(list(shifts.values()), np.float32)[: image.shape[2]])


@DEGRADATIONS.register_module()
@dataclass
class ColourJitter(Step):
    """Scales brightness, contrast and saturation by factors and turns `hue` by a part of the circle, in random order.

    Each means what it means in torchvision's ``ColorJitter``. A grey image has no saturation and no hue.
    """

    brightness: tuple[float, float] = drawn((0.5, 1.5), Uniform(at_least=0, at_most=10))
    contrast: tuple[float, float] = drawn((0.5, 1.5), Uniform(at_least=0, at_most=10))
    saturation: tuple[float, float] = drawn((0, 1.5), Uniform(at_least=0, at_most=10))
    hue: tuple[float, float] = drawn((-0.1, 0.1), Uniform(at_least=-0.5, at_most=0.5))

    def apply(self, image: np.ndarray, rng: np.random.Generator, **factors: float) -> np.ndarray:
        """See :class:`Step`."""
        for i in rng.permutation(len(_CHANGES)):
            name, change = _CHANGES[i]
            image = change(image, np.float32(factors[name]))
        return image


@DEGRADATIONS.register_module()
@dataclass
class Greyscale(Step):
    """The luma (ITU-R BT.601) in all channels: an image in black and white."""

    def apply(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """See :class:`Step`."""
        return np.repeat(_whole(_luma(image)), image.shape[2], axis=2)


def _change_brightness(image: np.ndarray, factor: np.float32) -> np.ndarray:
    return _whole(image * factor)


def _change_contrast(image: np.ndarray, factor: np.float32) -> np.ndarray:
    luma = _whole(_luma(image))
    mean = np.float32(int(luma.sum(dtype=np.int64)) / luma.size)  # of integers: the same on every machine
    return _whole(mean + factor * (image - mean))


def _change_saturation(image: np.ndarray, factor: np.float32) -> np.ndarray:
    luma = _luma(image)
    return _whole(luma + factor * (image - luma))


def _turn_hue(image: np.ndarray, turn: np.float32) -> np.ndarray:
    """Turn the hue of HSV by a part of the circle, keeping value and chroma."""
    if image.shape[2] == 1:
        return image
    red, green, blue = image.astype(np.float32).transpose(2, 0, 1)
    value = np.maximum(np.maximum(red, green), blue)
    chroma = value - np.minimum(np.minimum(red, green), blue)
    safe = np.where(chroma == 0, np.float32(1), chroma)
    sixths = np.where(
        value == red, (green - blue) / safe, np.where(value == green, (blue - red) / safe + 2, (red - green) / safe + 4)
    )
    turned = [(offset + sixths + 6 * turn) % 6 for offset in np.array([5, 3, 1], np.float32)]
    return _whole(np.stack([value - chroma * np.clip(np.minimum(k, 4 - k), 0, 1) for k in turned], axis=2))


_CHANGES = (
    ('brightness', _change_brightness),
    ('contrast', _change_contrast),
    ('saturation', _change_saturation),
    ('hue', _turn_hue),
)


def _luma(image: np.ndarray) -> np.ndarray:
    """Return the luma, float32 ``(H, W, 1)``; of a grey image, the image."""
    if image.shape[2] == 1:
        return image.astype(np.float32)
    red, green, blue = (image[..., i : i + 1] * np.float32(weight) for i, weight in enumerate(LUMA))
    return red + green + blue


def _whole(levels: np.ndarray) -> np.ndarray:
    return np.rint(levels).clip(0, 255).astype(np.uint8)
