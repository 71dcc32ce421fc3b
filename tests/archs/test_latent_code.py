"""Tests of the variant vae and its latent code."""

import pytest
import torch
from torch import nn

from hifacegan_plugin.archs import CSRGenerator
from hifacegan_plugin.archs.csr.latent_code import LATENT, LatentCode, LatentEncoder, spread_code
from hifacegan_plugin.archs.csr.shapes import read_generator_options


def test_layers_of_the_encoder():
    torch.manual_seed(0)
    encoder = LatentEncoder(3, num_feat=2)
    layers = [
        layer for conv in encoder.convs for layer in (conv, nn.InstanceNorm2d(conv.out_channels), nn.LeakyReLU(0.2))
    ]
    features = nn.Sequential(*layers, nn.Flatten())
    assert [conv.out_channels for conv in encoder.convs] == [2, 4, 8, 16, 16, 16]
    x = torch.rand(2, 3, 256, 256)
    with torch.no_grad():
        code, expected = encoder(x), features(x)
        torch.testing.assert_close(code.mean, encoder.mean(expected))
        torch.testing.assert_close(code.log_variance, encoder.log_variance(expected))
        assert encoder(torch.rand(1, 3, 70, 333)).mean.shape == (1, LATENT)


def test_codes_are_sampled_only_in_train_mode():
    torch.manual_seed(0)
    code = LatentCode(torch.full((50_000, 1), 3.0), torch.full((50_000, 1), 0.5).log().mul(2))
    drawn = code.draw(training=True)
    assert (drawn.mean().item(), drawn.std().item()) == pytest.approx((3, 0.5), abs=0.02)
    assert code.draw(training=False) is code.mean


def test_start_at_256_pixels_equals_the_linear_layer():
    """The size of SPADE, with the same layout of weights."""
    flat = torch.rand(2, 5 * 64)
    assert torch.equal(spread_code(flat, 8, 8), flat.view(2, 5, 8, 8))
    constant = torch.full((1, 5 * 64), 0.7)
    torch.testing.assert_close(spread_code(constant, 3, 5), torch.full((1, 5, 3, 5), 0.7))


def test_output_is_random_only_in_train_mode(lively_generator):
    network = lively_generator(variant='vae', norm='instance')
    x = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        assert (network(x) - network(x)).abs().max() > 1e-3
        assert torch.equal(network.eval()(x), network(x))


def test_byproducts_contain_the_code_of_the_image(lively_generator):
    x = torch.rand(2, 3, 64, 64)
    network = lively_generator(variant='vae').eval()
    with torch.no_grad():
        image, byproducts = network(x, with_byproducts=True)
        assert torch.equal(image, network(x))
        assert byproducts.keys() == set(network.byproducts) == {'mean', 'log_variance'}
        assert torch.equal(byproducts['mean'], network.encoder(x).mean)
        assert lively_generator()(x, with_byproducts=True)[1] == {}


def test_the_variant_can_be_inferred_from_the_weights():
    weights = CSRGenerator(num_feat=4, variant='vae').state_dict()
    assert read_generator_options(weights) == {'num_in_ch': 3, 'num_feat': 4, 'preset': 'paper', 'variant': 'vae'}
    with pytest.raises(RuntimeError, match='They look like variant: vae'):
        CSRGenerator(num_feat=4, variant='spade').load_state_dict(weights)
    published = {key.replace('start.', 'fc.'): value for key, value in weights.items()}
    CSRGenerator(num_feat=4, variant='vae').load_state_dict(published)


def test_initial_weights_of_linear_layers():
    torch.manual_seed(0)
    start = CSRGenerator(num_feat=4, variant='vae').start
    assert start.weight.std().item() == pytest.approx(0.02 * (2 / sum(start.weight.shape)) ** 0.5, rel=0.02)
    assert start.bias.abs().max() == 0
