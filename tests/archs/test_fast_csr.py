"""Tests of the fast generator."""

import shutil

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hifacegan_plugin.archs import CSRGenerator
from hifacegan_plugin.archs.csr import fast
from hifacegan_plugin.archs.csr.fast import BorderConv2d, continue_border
from hifacegan_plugin.archs.csr.shapes import SCALES, read_generator_options
from hifacegan_plugin.restore.engines.inference import DynamicCSR


def test_initially_returns_its_input():
    x = torch.rand(2, 3, 70, 64)
    assert torch.equal(CSRGenerator(num_feat=4, preset='fast')(x), x)


def test_every_parameter_gets_a_gradient(lively_generator):
    network = lively_generator(preset='fast')
    network(torch.rand(2, 3, 64, 64)).square().mean().backward()
    assert [name for name, parameter in network.named_parameters() if not parameter.grad.any()] == []


@pytest.mark.parametrize('num_scales', SCALES)
@pytest.mark.parametrize('size', [(16, 16), (17, 30), (66, 16)])
def test_padding_of_any_size(lively_generator, num_scales, size):
    """With six scales, 16 pixels are padded by another 16, but reflection provides only 15."""
    network = lively_generator(preset='fast', num_scales=num_scales).eval()
    multiple = {3: 4, 4: 8, 5: 16, 6: 32}[num_scales]
    image = np.random.default_rng(0).random((3, *size), np.float32)
    padded = image
    for axis, length in enumerate(size, start=1):
        missing = [(0, 0)] * 3
        missing[axis] = (0, -length % multiple)
        padded = np.pad(padded, missing, 'reflect' if -length % multiple < length else 'edge')
    x, expected = torch.from_numpy(image)[None], torch.from_numpy(padded)[None]
    with torch.no_grad():
        expected = network(expected)[..., : size[0], : size[1]]
        torch.testing.assert_close(network(x), expected)
        torch.testing.assert_close(DynamicCSR(network)(x), expected, atol=1e-5, rtol=0)
        assert (expected - x).abs().mean() > 0.1


@pytest.mark.parametrize('capability', ['AVX2', 'AVX512'])
def test_memory_layout(lively_generator, monkeypatch, capability):
    """The result does not depend on the layout, which is that in which the processor is fastest."""
    monkeypatch.setattr(fast, 'CPU_CAPABILITY', capability)
    network, x = lively_generator(preset='fast').double(), torch.rand(1, 3, 64, 64, dtype=torch.float64)
    trained, restored = network.train()(x), network.eval()(x)
    torch.testing.assert_close(trained, restored)
    assert restored.is_contiguous(memory_format=torch.channels_last)
    assert trained.is_contiguous(memory_format=torch.channels_last) == (capability != 'AVX2')


def test_too_small_images_are_refused():
    with pytest.raises(ValueError, match='of at least 16 x 16 pixels, got 40 x 15'):
        CSRGenerator(num_feat=4, preset='fast')(torch.rand(1, 3, 40, 15))


@pytest.mark.parametrize('num_scales', [3, 4])
def test_receptive_field(lively_generator, num_scales):
    """A changed pixel affects only its neighbourhood."""
    network = lively_generator(preset='fast', num_scales=num_scales).double().eval()
    reach, coarsest = network.reach, 2 ** (num_scales - 1)
    size = 4 * reach + 1
    x = torch.rand(1, 3, size, size, dtype=torch.float64)
    with torch.no_grad():
        before = network(x)
        for place in range(2 * reach, 2 * reach + coarsest):  # at all positions relative to the coarsest grid
            changed = x.clone()
            changed[..., place, place] += 1
            _, _, rows, columns = (network(changed) - before).nonzero(as_tuple=True)
            seen = max((rows - place).abs().max(), (columns - place).abs().max())
            assert reach - 3 * coarsest <= seen <= reach


def test_borders_are_padded_by_replication(lively_generator):
    """In an image of one colour, borders equal the middle; zero padding would darken them."""
    network = lively_generator(preset='fast').eval()
    with torch.no_grad():
        out = network(torch.full((1, 3, 96, 128), 0.7))
    torch.testing.assert_close(out, out[..., 40:41, 40:41].expand_as(out), atol=1e-5, rtol=0)


def test_padding_for_compilers_is_the_same(monkeypatch):
    x = torch.rand(2, 5, 6, 7).contiguous(memory_format=torch.channels_last).requires_grad_()
    steering = torch.rand(2, 5, 8, 9)
    expected = F.pad(x, (1, 1, 1, 1), mode='replicate')
    (gradient,) = torch.autograd.grad((expected * steering).sum(), x)
    for compiling in (False, True):
        monkeypatch.setattr(torch.compiler, 'is_compiling', lambda answer=compiling: answer)
        out = continue_border(x)
        assert torch.equal(out, expected)
        assert out.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(torch.autograd.grad((out * steering).sum(), x)[0], gradient)


@pytest.mark.skipif(shutil.which('c++') is None, reason="torch's compiler needs a C++ compiler")
def test_compiled_padding_has_gradients():
    conv = BorderConv2d(2, 3)
    gradients = []
    for network in (conv, torch.compile(conv)):  # only the default backend checks memory layouts
        x = torch.linspace(-1, 1, 2 * 2 * 5 * 6).view(2, 2, 5, 6).contiguous(memory_format=torch.channels_last)
        x.requires_grad_()
        network(x).square().sum().backward()
        gradients.append(x.grad)
    torch.testing.assert_close(*gradients)


def test_unguided_pooling_is_an_average(lively_generator):
    module = CSRGenerator(num_feat=4, preset='fast').suppression.levels[0]
    x = torch.rand(1, 8, 32, 32)
    expected = F.avg_pool2d(x, 3, 2, 1, count_include_pad=False)
    torch.testing.assert_close(module.pool(x), expected)
    nn.init.normal_(module.pool.logit_conv.weight)
    assert (module.pool(x) - expected).abs().max() > 0.01


def test_guidance_affects_the_block_of_its_scale(lively_generator):
    network = lively_generator(preset='fast').eval()
    with torch.no_grad():
        start, guidance = network.suppress(torch.rand(1, 3, 64, 96))
        assert [tuple(level.shape[1:]) for level in guidance] == [(16, 16, 24), (12, 32, 48), (8, 64, 96)]
        full = network.replenish(start, guidance)
        for level in range(3):
            mixed = [torch.zeros_like(g) if i == level else g for i, g in enumerate(guidance)]
            assert (network.replenish(start, mixed) - full).abs().max() > 1e-3


def test_options_can_be_inferred_from_the_weights():
    network = CSRGenerator(num_in_ch=1, num_feat=6, preset='fast', num_scales=5)
    options = read_generator_options(network.state_dict())
    assert options == {'num_in_ch': 1, 'num_feat': 6, 'preset': 'fast', 'num_scales': 5, 'global_residual': True}
    with pytest.raises(RuntimeError, match=r'They look like .*preset: fast'):
        CSRGenerator(num_in_ch=1, num_feat=6).load_state_dict(network.state_dict())


def test_global_residual_cannot_be_disabled():
    with pytest.raises(ValueError, match=r'preset: fast always predicts a correction .* take global_residual: false'):
        CSRGenerator(num_feat=4, preset='fast', global_residual=False)
    assert CSRGenerator(num_feat=4, preset='fast', global_residual=True).global_residual


@pytest.mark.parametrize('options', [{'variant': 'spade'}, {'norm': 'instance'}])
def test_options_that_the_fast_preset_does_not_have(options):
    with pytest.raises(ValueError, match='preset: fast has no variants and no normalisation'):
        CSRGenerator(num_feat=4, preset='fast', **options)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'preset': 'fast', 'num_scales': 2}, 'num_scales: 2 is not one of 3, 4, 5, 6'),
        ({'num_scales': 4}, 'num_scales is for preset: fast'),
    ],
)
def test_invalid_numbers_of_scales(options, message):
    with pytest.raises(ValueError, match=message):
        CSRGenerator(num_feat=4, **options)
