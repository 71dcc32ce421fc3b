"""Test of the sizes of the network in docs/network.md."""

import torch
from conftest import REPOSITORY
from mmengine.analysis import FlopAnalyzer

from hifacegan_plugin.archs import CSRGenerator

SMALLER = 8  # the sides of the image here, compared with those in the docs


def test_sizes_of_the_units():
    network = CSRGenerator(num_feat=64).eval()
    shapes = {}
    for i, block in enumerate(network.blocks):
        block.register_forward_hook(lambda module, inputs, output, i=i: shapes.update({f'blocks.{i}': output.shape}))
    with torch.inference_mode():
        analyzer = FlopAnalyzer(network, (torch.rand(1, 3, 512 // SMALLER, 512 // SMALLER),))
        operations = analyzer.unsupported_ops_warnings(False).uncalled_modules_warnings(False).by_module()
    lines = (REPOSITORY / 'docs/network.md').read_text().splitlines()
    rows = [[cell.strip() for cell in line.strip('|').split('|')] for line in lines if line.startswith('| ')]
    documented = {first: others for first, *others in rows}

    parts = {'suppression': 'suppression', **{f'unit {i + 1}': f'blocks.{i}' for i in range(7)}, 'all': ''}
    for label, name in parts.items():
        size, channels, *others = documented[label]
        parameters = sum(parameter.numel() for parameter in network.get_submodule(name).parameters())
        assert others == [f'{parameters / 1e6:.1f}', f'{SMALLER**2 * 2 * operations[name] / 1e9:.0f}'], label
        if name in shapes:
            assert (int(channels), int(size) // SMALLER) == shapes[name][1:3], label
