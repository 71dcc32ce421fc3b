"""Tests that spandrel opens the plugin's weights."""

import pytest
import torch
from safetensors.torch import load_file

from hifacegan_plugin.archs.csr.paper import VARIANTS
from hifacegan_plugin.archs.csr_arch import CSRGenerator
from hifacegan_plugin.weights import generator_options, write_weights

spandrel = pytest.importorskip('spandrel', reason='needs the spandrel extra')

import hifacegan_plugin.spandrel  # noqa: E402  (registers)


@pytest.mark.parametrize('variant', VARIANTS)
@pytest.mark.parametrize('options', [{}, {'norm': 'rms', 'global_residual': True}])
def test_model_loader_opens_converted_weights(tmp_path, variant, options):
    torch.manual_seed(0)
    generator = CSRGenerator(num_feat=4, variant=variant, **options).eval()
    write_weights(tmp_path / 'a.safetensors', generator.state_dict(), generator_options(generator))
    model = spandrel.ModelLoader().load_from_file(tmp_path / 'a.safetensors')
    assert (model.architecture.id, model.scale, model.tags) == ('HiFaceGAN', 1, ['4nf', variant])
    assert model.tiling is spandrel.ModelTiling.DISCOURAGED
    images = torch.rand(1, 3, 64, 80)
    with torch.no_grad():
        assert torch.equal(model(images), generator(images).clamp(0, 1))


def test_model_loader_opens_the_fast_preset(tmp_path, lively_generator):
    generator = lively_generator(preset='fast').eval()
    torch.save({'params': generator.state_dict()}, tmp_path / 'a.pth')
    model = spandrel.ModelLoader().load_from_file(tmp_path / 'a.pth')
    assert (model.tags, model.tiling) == (['4nf', 'fast'], spandrel.ModelTiling.SUPPORTED)
    images = torch.rand(1, 3, 64, 80)
    with torch.no_grad():
        assert torch.equal(model(images), generator(images).clamp(0, 1))


@pytest.mark.parametrize('options', [{}, {'norm': 'rms', 'global_residual': True}])
def test_model_loader_opens_checkpoints(tmp_path, lively_generator, options):
    generator = lively_generator(**options).eval()
    torch.save({'params_ema': generator.state_dict(), 'params': {}, 'network_g': options}, tmp_path / 'a.pth')
    model = spandrel.ModelLoader().load_from_file(tmp_path / 'a.pth')
    images = torch.rand(1, 3, 64, 80)
    with torch.no_grad():
        assert torch.equal(model(images), generator(images).clamp(0, 1))


@pytest.mark.parametrize('name', ['csr_ngf4_64x96', 'lip_spade_ngf4_64', 'spade_ngf4_64'])
def test_model_loader_opens_published_weights(reference_dir, tmp_path, name):
    tensors = load_file(reference_dir / f'{name}.safetensors')
    prefix = 'state_dict.'
    state_dict = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
    torch.save(state_dict, tmp_path / 'a.pth')
    model = spandrel.ModelLoader().load_from_file(tmp_path / 'a.pth')
    with torch.no_grad():
        output = model(tensors['input'])
    assert (output - tensors['output_per_sample'].clamp(0, 1)).abs().max() < 1e-4


def test_other_architectures_are_not_detected():
    assert not hifacegan_plugin.spandrel.HiFaceGANArch().detect({'conv_first.weight': torch.ones(1)})
