"""``hifacegan stages``: what each unit of the network restores, as three panels.

The replenishment is steered by guidance at several places, coarse to fine (the units: seven in the paper's form).
Guidance that is mixed from two sources shows what each unit adds (Yang et al., arXiv 2005.05005, the visualisation of
nested guidance; BasicSR's ``HiFaceGAN.mixed_guidance_forward``, which mixes the guidance of two pictures). Here the
second source is neutral: the guidance's own mean over space. It tells the unit nothing about where anything is, yet
lies in the range that the unit was trained for. The guidance of a grey picture does not: instance normalisation blows
the faint border that padding leaves in it up to the strength of real features. With ``--mix``, the second source is
another picture.

The start of the replenishment is always that of the picture: the panel at n = 0 shows what it does unsteered.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hifacegan_plugin.archs.csr_arch import CSRGenerator
from hifacegan_plugin.archs.csr_form import DOWNSCALE, MIN_SIZE
from hifacegan_plugin.images.channels import with_channels
from hifacegan_plugin.images.decoding import ImageError, as_8_bit_bgr, decode, open_image
from hifacegan_plugin.system.files import whole_file
from hifacegan_plugin.weights import WeightsError, add_untraced_options, given_options, load_generator

LABEL_HEIGHT = 24  # pixels above each picture of a panel
MARGIN = 6


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument('-i', '--input', required=True, type=Path, metavar='PICTURE', help='degraded picture')
    parser.add_argument('-w', '--weights', required=True, type=Path, metavar='FILE', help='weights of the generator')
    parser.add_argument('-o', '--output', type=Path, default=Path('results/stages'), metavar='FOLDER',
                        help='default: results/stages')
    parser.add_argument('--param-key', metavar='KEY', help='params_ema or params; default: the first that there is')
    add_untraced_options(parser)
    parser.add_argument('--mix', type=Path, metavar='PICTURE',
                        help='take the other guidance from this picture, resized, instead of neutral guidance')


def run(arguments: argparse.Namespace) -> int:
    """Write the panels; 0: all went well, 2: nothing was written."""
    try:
        generator = load_generator(arguments.weights, arguments.param_key, **given_options(arguments))
        picture = _read(arguments.input)
        other = None if arguments.mix is None else cv2.resize(_read(arguments.mix), picture.shape[1::-1])
        panels = draw_panels(generator, picture, other)
        for name, panel in panels.items():
            file = arguments.output / f'{arguments.input.stem}_{name}.png'
            _write(file, panel)
            print(file)
    except (WeightsError, ValueError, OSError) as error:
        print(f'hifacegan stages: {error}', file=sys.stderr)
        return 2
    if 'suppression' not in panels:
        print('No suppression maps: the variant spade has no suppression modules.')
    return 0


def draw_panels(generator: CSRGenerator, picture: np.ndarray, other: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Draw what each unit of a generator does for a picture.

    Args:
        generator: in ``eval()`` mode.
        picture: degraded, uint8 RGB ``(H, W, 3)``.
        other: picture of the same size whose guidance takes the place of the neutral one.

    Returns:
        Panels, uint8 RGB ``(h, w, 3)``: ``progressive``, with the picture's guidance for the first n units, n = 0 up;
        ``left_out``, with all but one unit steered by the picture, and below it how much the result changes;
        ``suppression``, the importance that each suppression module gives to each place (not for the variant
        ``spade``, which has none; in ``lip_spade`` they only shape the start, not the guidance).

    Raises:
        ValueError: the picture is too small, or the network is for images that are neither RGB nor grey.
    """
    x = _to_tensor(generator, picture)
    with torch.inference_mode():
        start, guidance = generator.suppress(x)
        if other is None:
            neutral = [level.mean((2, 3), keepdim=True).expand_as(level) for level in guidance]
        else:
            neutral = generator.suppress(_to_tensor(generator, other))[1]

        def restore(from_picture: list[bool]) -> np.ndarray:
            mixed = [own if wanted else foreign for wanted, own, foreign in zip(from_picture, guidance, neutral)]
            out = generator.replenish(start, mixed) + (x if generator.global_residual else 0)
            return _to_picture(out)[:picture.shape[0], :picture.shape[1]]

        units = range(len(guidance))
        progressive = [restore([unit < n for unit in units]) for n in range(len(units) + 1)]
        without = [restore([unit != left_out for unit in units]) for left_out in units]
        importance = [] if generator.variant == 'spade' else importance_maps(generator, x)

    full = progressive[-1]
    sides = [f'unit {unit + 1}, H/{2 ** level}' if level else f'unit {unit + 1}, H'
             for unit, level in enumerate(generator.form.block_levels)]
    panels = {
        'progressive': _grid([
            [_label('input', picture), *(_label(f'n = {n}', image) for n, image in enumerate(progressive))],
        ]),
        'left_out': _grid([
            [_label('all units', full), *(_label(f'without {side}', image) for side, image in zip(sides, without))],
            [_label('', np.full_like(full, 255)), *_changes(full, without)],
        ]),
    }
    if importance:
        panels['suppression'] = _grid([[_label('input', picture), *(
            _label(f'level {level}, {m.min():+.2f} to {m.max():+.2f}', _colour(m, m.min(), m.max(), *picture.shape[:2]))
            for level, m in enumerate(importance))]])
    return panels


def importance_maps(generator: CSRGenerator, x: Tensor) -> list[np.ndarray]:
    """Give the log of the local importance of each suppression module, averaged over the channels.

    Args:
        generator: of the variant ``csr`` or ``lip_spade``.
        x: a picture ``(1, C, H, W)``, H and W multiples of 32.

    Returns:
        A map ``(H / 2^i, W / 2^i)`` for each module, from -6 (passed over) to 6 (kept); Gao et al., "LIP", ICCV
        2019, equation 4.
    """
    levels = generator.suppression(x)
    return [module.pool.importance(level).log().mean(1)[0].numpy()
            for module, level in zip(generator.suppression.levels, levels)]


def _to_tensor(generator: CSRGenerator, picture: np.ndarray) -> Tensor:
    """Turn an image into ``(1, 3, H, W)`` in [0, 1], or its luma ``(1, 1, H, W)``, padded as the generator does."""
    height, width = picture.shape[:2]
    if generator.num_in_ch not in (1, 3):
        raise ValueError(f'these weights are for images of {generator.num_in_ch} channels; stages draws RGB and grey')
    if min(height, width) < MIN_SIZE:
        raise ValueError(f'the picture is {width}x{height}; enlarge it to {MIN_SIZE} pixels a side or more')
    x = torch.from_numpy(picture.transpose(2, 0, 1).copy())[None].float() / 255
    return F.pad(with_channels(x, generator.num_in_ch), (0, -width % DOWNSCALE, 0, -height % DOWNSCALE), mode='reflect')


def _to_picture(x: Tensor) -> np.ndarray:
    return with_channels(x, 3)[0].clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).numpy()


def _changes(full: np.ndarray, without: list[np.ndarray]) -> list[np.ndarray]:
    """Draw where leaving a unit out changes the result, all in the same colours."""
    changes = [np.abs(image.astype(np.float32) - full).mean(2) for image in without]
    most = max(change.max() for change in changes)
    return [_label(f'mean change {change.mean():.2f} of 255', _colour(change, 0, most, *full.shape[:2]))
            for change in changes]


def _colour(values: np.ndarray, low: float, high: float, height: int, width: int) -> np.ndarray:
    """Draw a map, of the padded picture or a level of it, in the colours of viridis, dark for ``low``."""
    grey = ((values - low) / max(high - low, 1e-12) * 255).round().clip(0, 255).astype(np.uint8)
    if grey.shape != (height, width):
        padded = (width + -width % DOWNSCALE, height + -height % DOWNSCALE)
        grey = cv2.resize(grey, padded, interpolation=cv2.INTER_NEAREST)[:height, :width]
    return cv2.cvtColor(cv2.applyColorMap(grey, cv2.COLORMAP_VIRIDIS), cv2.COLOR_BGR2RGB)


def _label(text: str, picture: np.ndarray) -> np.ndarray:
    """Write a line of text above a picture."""
    width = picture.shape[1]
    line = np.full((LABEL_HEIGHT, width, 3), 255, np.uint8)
    (text_width, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.5, 1)
    size = 0.5 * min(1, (width - 4) / max(text_width, 1))
    cv2.putText(line, text, (2, LABEL_HEIGHT - 8), cv2.FONT_HERSHEY_SIMPLEX, size, (0, 0, 0), 1, cv2.LINE_AA)
    return np.vstack([line, picture])


def _grid(rows: list[list[np.ndarray]]) -> np.ndarray:
    """Lay out rows of pictures of one size, on white."""
    bordered = [[cv2.copyMakeBorder(p, 0, MARGIN, 0, MARGIN, cv2.BORDER_CONSTANT, value=(255,) * 3) for p in row]
                for row in rows]
    return np.vstack([np.hstack(row) for row in bordered])


def _read(path: Path) -> np.ndarray:
    try:
        image = as_8_bit_bgr(decode(open_image(path.read_bytes())))
    except ImageError as error:
        raise ValueError(f'{path} cannot be decoded: it {error}') from error
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def _write(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as part:
        part.write_bytes(cv2.imencode('.png', cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes())
