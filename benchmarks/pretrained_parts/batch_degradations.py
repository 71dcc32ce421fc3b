"""Degrade whole batches on their device, for training on a GPU that many CPUs could not keep busy.

The steps are those of :mod:`hifacegan_plugin.data.degradations`, with parameters drawn for each image, but computed by
torch: fast instead of alike to the byte on every machine. Images are float32 ``(N, 3, H, W)`` RGB in grey levels
[0, 255]; each step returns whole grey levels, as the numpy steps do.

What decides which kernels are launched (which step, in which order, at which size) is drawn by numpy; what an image's
step computes with is drawn by torch on the device, so that nothing waits for the device.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

Degrade = Callable[[Tensor, np.random.Generator], Tensor]

# ITU-T T.81, tables K.1 and K.2: quantisation of luma and chroma at quality 50.
_LUMA_TABLE = (
    (16, 11, 10, 16, 24, 40, 51, 61), (12, 12, 14, 19, 26, 58, 60, 55), (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62), (18, 22, 37, 56, 68, 109, 103, 77), (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101), (72, 92, 95, 98, 112, 100, 103, 99),
)  # fmt: skip
_CHROMA_TABLE = (
    (17, 18, 24, 47, 99, 99, 99, 99), (18, 21, 26, 66, 99, 99, 99, 99), (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99), *((99,) * 8,) * 4,
)  # fmt: skip
_TO_YCBCR = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))  # JFIF 1.02
_TO_RGB = ((1, 0, 1.402), (1, -0.344136, -0.714136), (1, 1.772, 0))


def mixture(parts: Sequence[tuple[float, Degrade]]) -> Degrade:
    """Return a degradation that sends each image through one of ``parts``, with probability proportional to its weight.

    The images of a batch are drawn independently, so those of a part are simply next to each other.
    """
    weights = np.array([weight for weight, _ in parts])

    def degrade(images: Tensor, rng: np.random.Generator) -> Tensor:
        counts = rng.multinomial(len(images), weights / weights.sum()).tolist()
        pairs = zip(torch.split(images, counts), (step for _, step in parts), strict=True)
        return torch.cat([step(part, rng) for part, step in pairs if len(part)])

    return degrade


def in_order(*steps: Degrade) -> Degrade:
    """Return a degradation that runs all ``steps``, one after the other."""

    def degrade(images: Tensor, rng: np.random.Generator) -> Tensor:
        for step in steps:
            images = step(images, rng)
        return images

    return degrade


def in_groups(step: Degrade, size: int = 4) -> Degrade:
    """Return a degradation that runs ``step`` on groups of ``size`` images, which draws for each group.

    Small groups vary more within a batch; large groups launch fewer kernels on a GPU.
    """

    def degrade(images: Tensor, rng: np.random.Generator) -> Tensor:
        return torch.cat([step(group, rng) for group in torch.split(images, size)])

    return degrade


def shuffled(*steps: Degrade) -> Degrade:
    """Return a degradation that runs all ``steps`` in an order that is drawn."""
    return lambda images, rng: in_order(*(steps[i] for i in rng.permutation(len(steps))))(images, rng)


def sometimes(probability: float, step: Degrade) -> Degrade:
    """Return a degradation that runs ``step`` with ``probability`` (on all images that it is given, or on none)."""
    return lambda images, rng: step(images, rng) if rng.random() < probability else images


def unchanged(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Return the images as they are."""
    return images


def gaussian_noise(sigma: tuple[float, float], grey: float = 0) -> Degrade:
    """Return a step that adds Gaussian noise; see :class:`~hifacegan_plugin.data.degradations.noise.GaussianNoise`."""

    def degrade(images: Tensor, rng: np.random.Generator) -> Tensor:
        noise = torch.randn_like(images)
        noise = torch.where(_chance(images, grey), noise[:, :1], noise)
        return rounded(images + noise * _uniform(images, sigma))

    return degrade


def shot_noise(scale: tuple[float, float]) -> Degrade:
    """Return a step that adds photon noise; see :class:`~hifacegan_plugin.data.degradations.noise.ShotNoise`."""

    def degrade(images: Tensor, rng: np.random.Generator) -> Tensor:
        return rounded(images + (torch.poisson(images) - images) * _uniform(images, scale))

    return degrade


def paper_noise(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Add the noise of the recipe ``noise``: Gaussian, Laplace or Poisson, by image."""
    uniform = torch.rand_like(images) - 0.5
    laplace = -uniform.sign() * torch.log1p(-2 * uniform.abs().clamp(max=0.4999999))
    rate = _uniform(images, (15, 30)).expand_as(images)
    poisson = torch.poisson(rate) * uniform.sign()
    amplitude = _uniform(images, (20, 40))
    kinds = torch.stack([torch.randn_like(images) * amplitude, laplace * amplitude, poisson])
    chosen = _whole_number(images, 0, 2).expand_as(images)
    return rounded(images + kinds.gather(0, chosen[None])[0])


def gaussian_blur(
    sigma: tuple[float, float], truncate: tuple[float, float] = (1.25, 1.25), isotropic: float = 1.0
) -> Degrade:
    """Return a step that blurs by a Gaussian, cut off at ``truncate`` times its ``sigma`` (pixels).

    With probability ``isotropic`` sigma is the same in all directions, else it is drawn for two axes at any angle.
    """
    radius = math.ceil(truncate[1] * sigma[1])

    def degrade(images: Tensor, rng: np.random.Generator) -> Tensor:
        first, second = _uniform(images, sigma), _uniform(images, sigma)
        second = torch.where(_chance(images, isotropic), first, second)
        angle = _uniform(images, (0, math.pi))
        y, x = _grid(radius, images)
        along, across = x * angle.cos() + y * angle.sin(), y * angle.cos() - x * angle.sin()
        kernels = torch.exp(-0.5 * ((along / first).square() + (across / second).square()))
        reach = (_uniform(images, truncate) * torch.maximum(first, second)).round().clamp(min=1)
        kernels = kernels * ((x.abs() <= reach) & (y.abs() <= reach))
        return blur(images, kernels[:, 0])

    return degrade


def motion_blur(size: tuple[int, int]) -> Degrade:
    """Return a step that blurs by a motion; see :func:`hifacegan_plugin.data.degradations.blur.motion_kernel`."""
    largest = (size[1] - 1) // 2

    def degrade(images: Tensor, rng: np.random.Generator) -> Tensor:
        radius = _whole_number(images, size[0] // 2, largest)
        angle, direction = _uniform(images, (0, 2 * math.pi)), _uniform(images, (-1, 1))
        y, x = _grid(largest, images)
        along, across = angle.cos(), angle.sin()
        is_flat = across.abs() > along.abs()
        along, across = torch.where(is_flat, across, along), torch.where(is_flat, along, across)
        y, x = torch.where(is_flat, x, y), torch.where(is_flat, y, x)
        reach = (radius * along.abs()).round().clamp(min=1)
        weight = (1 - direction * along.sign() * y / reach) * (y.abs() <= reach)
        return blur(images, (weight * (1 - (x - y * across / along).abs()).clamp(min=0))[:, 0])

    return degrade


def blur(images: Tensor, kernels: Tensor) -> Tensor:
    """Correlate each image with its own kernel ``(N, k, k)``, k odd, whose sum is made 1; borders are mirrored."""
    radius = kernels.shape[-1] // 2
    kernels = kernels / kernels.sum((1, 2), keepdim=True)
    padded = F.pad(images, (radius,) * 4, mode='reflect')
    spectrum = torch.fft.rfft2(padded) * torch.fft.rfft2(kernels[:, None], s=padded.shape[-2:]).conj()
    height, width = images.shape[-2:]
    return rounded(torch.fft.irfft2(spectrum, s=padded.shape[-2:])[..., :height, :width])


def colour_shift(shift: tuple[float, float]) -> Degrade:
    """Return a step that adds a number to each channel; see
    :class:`~hifacegan_plugin.data.degradations.colour.ColourShift`.
    """
    return lambda images, rng: rounded(images + torch.empty_like(images[:, :, :1, :1]).uniform_(*shift))


def colour_jitter(
    brightness: tuple[float, float], contrast: tuple[float, float], saturation: tuple[float, float]
) -> Degrade:
    """Return a step that multiplies brightness, contrast and saturation, in an order drawn for all images alike.

    See :class:`~hifacegan_plugin.data.degradations.colour.ColourJitter`; here without a turn of the hue.
    """

    def change_brightness(images: Tensor, rng: np.random.Generator) -> Tensor:
        return rounded(images * _uniform(images, brightness))

    def change_contrast(images: Tensor, rng: np.random.Generator) -> Tensor:
        mean = rounded(_luma(images)).mean((2, 3), keepdim=True)
        return rounded(mean.lerp(images, _uniform(images, contrast)))

    def change_saturation(images: Tensor, rng: np.random.Generator) -> Tensor:
        return rounded(_luma(images).lerp(images, _uniform(images, saturation)))

    return shuffled(change_brightness, change_contrast, change_saturation)


def down_and_back(
    ratio: tuple[float, float], down: Sequence[str], up: Sequence[str], between: Degrade = unchanged
) -> Degrade:
    """Return a step that resizes by a ratio, runs ``between`` and resizes back, alike for all images that it is given.

    Args:
        ratio: limits of 1 / size after: the factor is drawn uniformly, as ``[4, 8]`` of a fourth to an eighth.
        down: of ``area``, ``bilinear``, ``bicubic``; one is drawn. Only ``area`` averages before it shrinks.
        up: of ``bilinear`` and ``bicubic``; one is drawn.
        between: what is done at the small size.
    """

    def degrade(images: Tensor, rng: np.random.Generator) -> Tensor:
        factor = rng.uniform(*ratio)
        small = [max(1, round(side / factor)) for side in images.shape[-2:]]
        reduced = between(_resize(images, small, str(rng.choice(down))), rng)
        return _resize(reduced, images.shape[-2:], str(rng.choice(up)))

    return degrade


def by_reciprocal(ratio: tuple[float, float], step: Callable[[tuple[float, float]], Degrade]) -> Degrade:
    """Return ``step`` with the reciprocal of a number that is drawn uniformly from ``ratio``."""

    def degrade(images: Tensor, rng: np.random.Generator) -> Tensor:
        factor = 1 / rng.uniform(*ratio)
        return step((factor, factor))(images, rng)

    return degrade


def mosaic(block: int) -> Degrade:
    """Return a step that replaces each block by its mean; sides are multiples of ``block``."""
    return lambda images, rng: F.interpolate(rounded(F.avg_pool2d(images, block)), scale_factor=block, mode='nearest')


def jpeg(quality: tuple[int, int], subsampled: float = 1.0) -> Degrade:
    """Return a step that compresses as JPEG (ITU-T T.81) at a quality from 1 to 100, drawn for each image.

    The discrete cosine transform is exact, where encoders take integers, so that results differ by a grey level from
    theirs here and there. With probability ``subsampled`` colour is at half resolution (4:2:0), for all images alike.
    """

    def degrade(images: Tensor, rng: np.random.Generator) -> Tensor:
        return compress(images, _whole_number(images, *quality).flatten(), rng.random() < subsampled)

    return degrade


def compress(images: Tensor, quality: Tensor, subsampled: bool) -> Tensor:
    """Compress images as JPEG at ``quality`` ``(N,)`` and decode them."""
    height, width = images.shape[-2:]
    images = F.pad(images, (0, -width % 16, 0, -height % 16), mode='replicate')
    ycc = torch.einsum('ij,njhw->nihw', _on(images.device, _TO_YCBCR), images)
    luma, chroma = ycc[:, :1].round() - 128, ycc[:, 1:].round()
    scale = torch.where(quality < 50, 5000 / quality, 200 - 2 * quality).view(-1, 1, 1, 1)
    luma = _through_transform(luma, scale, _on(images.device, _LUMA_TABLE)) + 128
    chroma = F.avg_pool2d(chroma, 2).round() if subsampled else chroma
    chroma = _through_transform(chroma, scale, _on(images.device, _CHROMA_TABLE))
    if subsampled:
        chroma = F.interpolate(chroma, scale_factor=2, mode='bilinear')
    rgb = torch.einsum('ij,njhw->nihw', _on(images.device, _TO_RGB), torch.cat([luma, chroma], 1))
    return rounded(rgb[..., :height, :width])


def _through_transform(planes: Tensor, scale: Tensor, table: Tensor) -> Tensor:
    """Quantise the 8x8 cosine transform of ``(N, C, H, W)``, with the table scaled as libjpeg does, and go back."""
    n, c, height, width = planes.shape
    steps = ((table * scale + 50) / 100).floor().clamp(1, 255)
    k = torch.arange(8, device=planes.device, dtype=planes.dtype)
    dct = torch.cos((2 * k + 1) * k[:, None] * math.pi / 16) / 2
    dct[0] /= math.sqrt(2)
    blocks = planes.view(n, c, height // 8, 8, width // 8, 8).transpose(3, 4)
    coefficients = dct @ blocks @ dct.T
    steps = steps.view(n, 1, 1, 1, 8, 8)
    blocks = dct.T @ ((coefficients / steps).round() * steps) @ dct
    return blocks.transpose(3, 4).reshape(planes.shape).round()


@cache
def _on(device: torch.device, table: tuple[tuple[float, ...], ...]) -> Tensor:
    return torch.tensor(table, dtype=torch.float32, device=device)


def _resize(images: Tensor, size: Sequence[int], mode: str) -> Tensor:
    options = {} if mode == 'area' else {'align_corners': False}
    return rounded(F.interpolate(images, tuple(size), mode=mode, **options))


def _luma(images: Tensor) -> Tensor:
    """Return the luma of RGB images, ``(N, 1, H, W)``."""
    return torch.einsum('j,njhw->nhw', _on(images.device, _TO_YCBCR)[0], images)[:, None]


def rounded(images: Tensor) -> Tensor:
    """Round to whole grey levels in [0, 255], in place."""
    return images.round_().clamp_(0, 255)


def _uniform(images: Tensor, limits: tuple[float, float]) -> Tensor:
    """Draw a number for each image: ``(N, 1, 1, 1)``."""
    return images.new_empty(len(images), 1, 1, 1).uniform_(*limits)


def _whole_number(images: Tensor, first: int, last: int) -> Tensor:
    """Draw a whole number for each image: ``(N, 1, 1, 1)``."""
    return torch.randint(first, last + 1, (len(images), 1, 1, 1), device=images.device)


def _chance(images: Tensor, probability: float) -> Tensor:
    """Draw yes or no for each image: ``(N, 1, 1, 1)``."""
    return _uniform(images, (0, 1)) < probability


def _grid(radius: int, images: Tensor) -> tuple[Tensor, Tensor]:
    """Return the coordinates of a kernel of ``2 * radius + 1`` pixels: y ``(1, 1, k, 1)`` and x ``(1, 1, 1, k)``."""
    line = torch.arange(-radius, radius + 1, device=images.device, dtype=images.dtype)
    return line.view(1, 1, -1, 1), line.view(1, 1, 1, -1)
