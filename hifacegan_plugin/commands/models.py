"""List the packaged networks: the purpose, training data and quality of each.

    hifacegan models
    hifacegan restore -i photographs -o restored --model faces

Both are used in Python as Restorer('general') and Restorer('faces').
"""

from __future__ import annotations

import argparse

from hifacegan_plugin.weights import PACKAGED, load_generator, read_card


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``hifacegan models``: there are none."""


def run(arguments: argparse.Namespace) -> int:
    """Print the model card of each network."""
    for name, path in PACKAGED.items():
        parameters = sum(parameter.numel() for parameter in load_generator(path).parameters())
        card = read_card(path)
        size = f'{parameters / 1e6:.2f} million parameters, {path.stat().st_size / 1e6:.1f} MB'
        print(f'{name} (hifacegan restore --model {name}): {size}')
        for key in ('purpose', 'data', 'recipe', 'date'):
            print(f'  {key}: {card[key]}')
        for test, figures in card['figures'].items():
            print(f'  {test}, mean PSNR in dB, degraded -> restored:')
            for case, (before, after) in figures.items():
                print(f'    {case:<12} {"-" if before is None else f"{before:.2f}":>6} -> {after:.2f}')
        print(f'  {path}')
    print(
        'Networks of others, such as GFPGANv1.4.pth: hifacegan restore -w FILE (where to get them: docs/comparison.md)'
    )
    return 0
