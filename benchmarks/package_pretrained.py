#!/usr/bin/env python3
r"""Add a trained network to the package, in float16, with a model card that contains the results of published.py.

    python benchmarks/published.py --images kodak -w net_g.safetensors --methods network -o kodak.json
    python benchmarks/package_pretrained.py general -w net_g.safetensors --figures "Kodak's 24 images" kodak.json \
        --recipe "8,000 batches of 40 crops of 160 pixels, ten minutes on an H200"

Purpose, data and recipe are copied from the model card of the packaged file unless they are given.
"""

from __future__ import annotations

import argparse
import json
import sys
from datetime import date
from pathlib import Path
from statistics import mean
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from hifacegan_plugin.weights import PACKAGED, generator_options, load_generator, read_card, write_weights

LARGEST = 8e6  # limit for the size of a packaged file, in bytes


def figures_of(file: Path, weights: Path) -> dict[str, list[float | None]]:
    """Return the mean PSNR before and after restoring, by degradation, from the result of published.py."""
    figures = json.loads(file.read_text(encoding='utf-8'))['figures']
    if weights.stem not in figures:
        raise SystemExit(f'{file}: measured {", ".join(figures)}, not {weights.stem}. Run published.py -w {weights}.')
    after = figures[weights.stem]
    # The PSNR of a clean image before restoring is infinite.
    return {
        case: [None if case == 'clean' else round(mean(values), 2), round(mean(after[case]), 2)]
        for case, values in figures['input'].items()
    }


def main() -> None:
    """Write the packaged file, unless it is too large."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('name', choices=PACKAGED)
    parser.add_argument('-w', '--weights', type=Path, required=True, metavar='FILE')
    parser.add_argument('--figures', nargs=2, action='append', default=[], metavar=('TEST', 'JSON'), required=True)
    for key in ('purpose', 'data', 'recipe'):
        parser.add_argument(f'--{key}', metavar='TEXT')
    args = parser.parse_args()
    card: dict[str, Any] = read_card(PACKAGED[args.name])
    card |= {key: text for key in ('purpose', 'data', 'recipe') if (text := getattr(args, key))}
    card['date'] = date.today().isoformat()
    card['figures'] = {test: figures_of(Path(file), args.weights) for test, file in args.figures}
    generator = load_generator(args.weights)
    weights = generator.state_dict()
    # Scalars are options, so they are not rounded.
    halved = {key: value.half() if value.ndim else value for key, value in weights.items()}
    size = sum(value.numel() * value.element_size() for value in halved.values())
    if size > LARGEST:
        raise SystemExit(f'{args.weights}: {size / 1e6:.1f} MB in float16, above the limit of {LARGEST / 1e6:.0f} MB.')
    difference = max(float((halved[key] - value).abs().max()) for key, value in weights.items())
    write_weights(PACKAGED[args.name], halved, generator_options(generator), card)
    print(f'{PACKAGED[args.name]}: {size / 1e6:.1f} MB, rounding errors up to {difference:.1g}')


if __name__ == '__main__':
    main()
