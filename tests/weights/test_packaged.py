"""Tests of the packaged networks."""

import numpy as np
import pytest
from PIL import Image
from torchvision.transforms.functional import to_tensor

from hifacegan_plugin.__main__ import main
from hifacegan_plugin.restore import Restorer
from hifacegan_plugin.weights import PACKAGED, load_generator, read_card


@pytest.mark.parametrize('name', PACKAGED)
def test_size_and_card(name):
    assert PACKAGED[name].stat().st_size < 8e6
    card = read_card(PACKAGED[name])
    assert {'purpose', 'data', 'recipe', 'date', 'figures'} <= card.keys()
    assert all(len(values) == 2 for figures in card['figures'].values() for values in figures.values())


def test_models_lists_the_networks(capsys):
    assert main(['models']) == 0
    listed = capsys.readouterr().out
    for name, path in PACKAGED.items():
        assert f'{name} (hifacegan restore --model {name}): ' in listed and str(path) in listed
    assert 'noise 25' in listed and 'mosaic16x' in listed


@pytest.mark.parametrize(('given', 'name'), [([], 'general'), (['--model', 'faces'], 'faces')])
def test_restore_accepts_their_names(given, name, tmp_path, noisy_image):
    assert main(['restore', '-i', str(noisy_image), '-o', str(tmp_path / 'out'), *given]) == 0
    image, restored = (np.asarray(Image.open(file)) for file in (noisy_image, tmp_path / 'out/noisy.png'))
    expected = load_generator(PACKAGED[name]).eval()(to_tensor(image)[None])[0].clamp(0, 1).mul(255).round()
    assert np.abs(restored - expected.permute(1, 2, 0).detach().numpy()).max() <= 1


def test_name_and_file_give_the_same_network():
    assert Restorer('faces').num_in_ch == Restorer(PACKAGED['faces']).num_in_ch == 3


@pytest.fixture
def noisy_image(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / 'noisy.png')
    return tmp_path / 'noisy.png'
