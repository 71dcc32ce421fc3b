"""What each unit of the network restores, drawn as panels.

The replenishment network consists of units, coarse to fine (seven in the paper). Each unit is steered by guidance
features. To show what a unit adds, the panels mix guidance from two sources (Yang et al., arXiv 2005.05005, the
visualisation of nested guidance; BasicSR's ``HiFaceGAN.mixed_guidance_forward`` mixes the guidance of two images). The
second source is neutral by default: the spatial mean of the image's own guidance. It holds no spatial information, but
its values are in the range that the unit was trained for. The guidance of a grey image would not be: instance
normalisation amplifies the faint border that padding leaves to the strength of real features. The guidance of another
image can be used instead.

The replenishment always starts from the image's own features: the panel at n = 0 shows its result without guidance.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from hifacegan_plugin.archs.csr.network import CSRNetwork
from hifacegan_plugin.images.channels import with_channels
from hifacegan_plugin.images.resizing import resize
from hifacegan_plugin.images.sheets import draw_sheet


def draw_panels(generator: CSRNetwork, image: np.ndarray, other: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Draw what each unit of a generator does for an image.

    Args:
        generator: in ``eval()`` mode.
        image: degraded, uint8 RGB ``(H, W, 3)``.
        other: image of the same size; its guidance replaces the neutral guidance.

    Returns:
        Panels, uint8 RGB ``(h, w, 3)``. ``progressive``: the image's guidance for the first n units only, from n = 0.
        ``left_out``: the image's guidance for all units but one, and below it how much the result changes.
        ``suppression``: the importance that each suppression module assigns to each position. The variants ``spade``
        and ``vae`` have no such modules, so no panel; in ``lip_spade`` the modules affect the start only, not the
        guidance.

    Raises:
        ValueError: the image is too small, or the network is for images that are neither RGB nor grey.
    """
    height, width = image.shape[:2]
    x = to_tensor(generator, image)
    with torch.inference_mode():
        start, guidance = generator.suppress(x)
        if other is None:
            neutral = [level.mean((2, 3), keepdim=True).expand_as(level) for level in guidance]
        else:
            neutral = generator.suppress(to_tensor(generator, other))[1]

        def restore(by_image: list[bool]) -> np.ndarray:
            mixed = [own if wanted else foreign for wanted, own, foreign in zip(by_image, guidance, neutral)]
            out = generator.replenish(start, mixed) + (x if generator.global_residual else 0)
            return _to_image(out)[:height, :width]

        units = range(len(guidance))
        progressive = [restore([unit < n for unit in units]) for n in range(len(units) + 1)]
        without = [restore([unit != left_out for unit in units]) for left_out in units]
        importance = importance_maps(generator, x)

    full = progressive[-1]
    names = [f'unit {unit + 1}, H/{2**level}' if level else f'unit {unit + 1}, H'
             for unit, level in enumerate(generator.block_levels)]  # fmt: skip
    panels = {
        'progressive': draw_sheet([
            [('input', image), *((f'n = {n}', restored) for n, restored in enumerate(progressive))],
        ]),
        'left_out': draw_sheet([
            [('all units', full), *((f'without {name}', restored) for name, restored in zip(names, without))],
            [('', np.full_like(full, 255)), *_changes(full, without)],
        ]),
    }  # fmt: skip
    if importance:
        maps = []
        for level, values in enumerate(importance):
            low, high = values.min(), values.max()
            enlarged = resize(values, x.shape[2], x.shape[3], 'nearest')[:height, :width]
            maps.append((f'level {level}, {low:+.2f} to {high:+.2f}', _in_colours(enlarged, low, high)))
        panels['suppression'] = draw_sheet([[('input', image), *maps]])
    return panels


def importance_maps(generator: CSRNetwork, x: Tensor) -> list[np.ndarray]:
    """Return the log of the local importance of each suppression module, averaged over the channels.

    Args:
        generator: of any variant; ``spade`` and ``vae`` have no suppression modules.
        x: an image ``(1, C, H, W)``, H and W multiples of ``generator.multiple``.

    Returns:
        A map ``(H / 2^i, W / 2^i)`` for each module, from -6 (suppressed) to 6 (kept); Gao et al., "LIP", ICCV 2019,
        equation 4.
    """
    pyramid = getattr(generator, 'suppression', None)
    if pyramid is None:
        return []
    return [module.pool.importance(level).log().mean(1)[0].numpy()
            for module, level in zip(pyramid.levels, pyramid(x))]  # fmt: skip


def to_tensor(generator: CSRNetwork, image: np.ndarray) -> Tensor:
    """Turn an image into ``(1, 3, H, W)`` in [0, 1], or its luma ``(1, 1, H, W)``, padded as the generator does.

    Raises:
        ValueError: the image is too small, or the network is for images that are neither RGB nor grey.
    """
    height, width = image.shape[:2]
    if generator.num_in_ch not in (1, 3):
        raise ValueError(f'these weights are for images of {generator.num_in_ch} channels; stages draws RGB and grey')
    if min(height, width) < (least := generator.smallest_side):
        raise ValueError(f'the image is {width}x{height}; enlarge it to {least} pixels a side or more')
    x = torch.from_numpy(image.transpose(2, 0, 1).copy())[None].float() / 255
    return generator.pad(with_channels(x, generator.num_in_ch))


def _to_image(x: Tensor) -> np.ndarray:
    return with_channels(x, 3)[0].clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).numpy()


def _changes(full: np.ndarray, without: list[np.ndarray]) -> list[tuple[str, np.ndarray]]:
    """Draw where leaving a unit out changes the result, with one colour scale for all units."""
    changes = [np.abs(restored.astype(np.float32) - full).mean(2) for restored in without]
    most = max(change.max() for change in changes)
    return [(f'mean change {change.mean():.2f} of 255', _in_colours(change, 0, most)) for change in changes]


def _in_colours(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Draw a map ``(H, W)`` in the colours of viridis, dark for ``low``: uint8 RGB ``(H, W, 3)``."""
    grey = ((values - low) / max(high - low, 1e-12) * 255).round().clip(0, 255).astype(np.uint8)
    return cv2.cvtColor(cv2.applyColorMap(grey, cv2.COLORMAP_VIRIDIS), cv2.COLOR_BGR2RGB)
