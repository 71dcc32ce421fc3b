"""Tests of the StyleGAN2 restorer: its synthesis compared with the host's, its weights and its encoder."""

import pytest
import torch
from basicsr.archs import stylegan2_arch as host
from basicsr.ops.fused_act import fused_act
from torch import nn
from torch.nn import functional as F

from hifacegan_plugin.archs import StyleGANRestorer

SMALL = {'num_feat': 2, 'out_size': 64, 'num_style_feat': 8, 'channel_multiplier': 1, 'narrow': 1 / 64}


@pytest.fixture
def host_generator(monkeypatch):
    """A function that builds the host's generator, with weights for which all parts affect the output."""

    def fused_leaky_relu(x, bias, negative_slope=0.2, scale=2**0.5):
        return scale * F.leaky_relu(x + bias.view(1, -1, *[1] * (x.ndim - 2)), negative_slope)

    for module in (fused_act, host):
        monkeypatch.setattr(module, 'fused_leaky_relu', fused_leaky_relu)

    def build(out_size=64, seed=0, **options):
        torch.manual_seed(seed)
        sizes = {'num_style_feat': 8, 'num_mlp': 3, 'channel_multiplier': 1, 'narrow': 1 / 64} | options
        generator = host.StyleGAN2Generator(out_size, **sizes).eval()
        for name, parameter in generator.named_parameters():
            if name.endswith(('bias', 'conv1.weight')) or parameter.shape == (1,):
                nn.init.normal_(parameter, 0.3, 0.5)
        return generator

    return build


@torch.no_grad()
@pytest.mark.parametrize('out_size', [8, 64])
def test_the_synthesis_equals_the_hosts_generator(host_generator, out_size):
    theirs = host_generator(out_size)
    ours = StyleGANRestorer(**SMALL | {'out_size': out_size})
    ours.load_state_dict(theirs.state_dict())
    codes = torch.randn(2, theirs.num_latent, 8)
    expected, _ = theirs([codes], input_is_latent=True, randomize_noise=False)
    assert expected.std() > 0.1
    torch.testing.assert_close(ours.generator(codes), expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_the_average_code_equals_that_of_the_hosts_mapping_network(host_generator):
    theirs = host_generator(8)
    ours = StyleGANRestorer(**SMALL | {'out_size': 8})
    ours.load_state_dict(theirs.state_dict())
    random_numbers = torch.randn(4096, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(ours.average_code, theirs.style_mlp(random_numbers).mean(0), atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_a_zero_encoder_gives_the_average_face(host_generator):
    theirs = host_generator()
    ours = StyleGANRestorer(**SMALL)
    ours.load_state_dict(theirs.state_dict())
    nn.init.zeros_(ours.codes.weight)
    nn.init.zeros_(ours.codes.bias)
    face, _ = theirs([ours.average_code.expand(1, theirs.num_latent, -1)], input_is_latent=True, randomize_noise=False)
    for size in ((64, 64), (50, 90)):
        restored = ours(torch.rand(1, 3, *size))
        expected = F.interpolate((face + 1) / 2, size, mode='bilinear', antialias=True)
        torch.testing.assert_close(restored, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize('spatial', [True, False])
def test_every_parameter_gets_a_gradient_and_the_image_affects_the_output(spatial):
    torch.manual_seed(0)
    network = StyleGANRestorer(**SMALL, spatial=spatial)
    if spatial:
        for conv in network.modulations:
            nn.init.normal_(conv.weight, std=0.1)
    one, other = torch.rand(2, 1, 3, 64, 64)
    restored = network(one)
    assert torch.equal(restored, network(one)) and (restored - network(other)).abs().max() > 1e-3
    restored.square().mean().backward()
    assert [name for name, parameter in network.named_parameters() if parameter.grad is None] == []


@torch.no_grad()
def test_local_changes_of_the_input_affect_the_output_locally():
    torch.manual_seed(0)
    network = StyleGANRestorer(**SMALL)
    scales = [torch.zeros(1, conv.out_channels // 2, 8 << i, 8 << i) for i, conv in enumerate(network.modulations)]
    shifts = [torch.zeros_like(scale) for scale in scales]
    codes = torch.randn(1, network.generator.num_codes, 8)
    plain = network.generator(codes)
    torch.testing.assert_close(network.generator(codes, list(zip(scales, shifts))), plain)
    shifts[-1][..., :16, :16] = 1
    changed = (network.generator(codes, list(zip(scales, shifts))) - plain).abs().sum(1)[0]
    assert changed[:16, :16].min() > 0 and changed[20:].max() == 0


def test_own_weights_can_be_loaded():
    torch.manual_seed(0)
    network, other = (StyleGANRestorer(**SMALL) for _ in range(2))
    other.load_state_dict(network.state_dict())
    x = torch.rand(1, 3, 64, 64)
    assert torch.equal(network(x), other(x))
    with pytest.raises(RuntimeError, match='Missing key'):
        other.load_state_dict({})


@pytest.mark.parametrize(
    ('theirs', 'message'),
    [
        ({'out_size': 128}, 'out_size: 128, num_style_feat: 8, channel_multiplier: 1, narrow: 0.015625: set this'),
        ({'narrow': 1 / 32, 'channel_multiplier': 2}, 'channel_multiplier: 2, narrow: 0.03125: set this'),
        ({'num_style_feat': 16}, 'out_size: 64, num_style_feat: 16'),
    ],
)
def test_weights_of_another_size_are_refused(host_generator, theirs, message):
    with pytest.raises(RuntimeError, match='These weights do not fit the generator of StyleGANRestorer') as raised:
        StyleGANRestorer(**SMALL).load_state_dict(host_generator(**theirs).state_dict())
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'out_size': 48}, 'out_size: 48 is not a power of 2 from 8'),
        ({'num_in_ch': 1}, 'num_in_ch: 1: a StyleGAN2 makes'),
    ],
)
def test_invalid_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        StyleGANRestorer(**SMALL | options)
