"""Tests of the discriminator, compared with the reference implementation and the host's network."""

import json

import pytest
import torch
from basicsr.archs.hifacegan_arch import HiFaceGANDiscriminator
from basicsr.losses import build_loss
from safetensors.torch import load_file

from hifacegan_plugin.archs import MultiscalePatchDiscriminator
from hifacegan_plugin.losses import FeatureMatchingLoss


@pytest.fixture
def reference(reference_dir):
    tensors = load_file(reference_dir / 'discriminator_ndf8_64.safetensors')
    network = MultiscalePatchDiscriminator(num_feat=8)
    prefix = 'state_dict.'
    network.load_state_dict({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)})
    losses = json.loads((reference_dir / 'gradients_and_losses.json').read_text())['discriminator_ndf8_64']['losses']
    return network, tensors, losses


def judge(network, tensors):
    """Outputs for a batch of fake and real pairs, and the halves for fake and real pairs."""
    pairs = [torch.cat([tensors['lq'], tensors[name]], 1) for name in ('fake', 'real')]
    outputs = network(torch.cat(pairs))
    halves = [[[layer.chunk(2)[i] for layer in scale] for scale in outputs] for i in (0, 1)]
    return outputs, *halves


def test_every_layer_equals_the_reference(reference):
    network, tensors, _ = reference
    outputs, _, _ = judge(network, tensors)
    for i, scale in enumerate(outputs):
        for j, layer in enumerate(scale):
            torch.testing.assert_close(layer, tensors[f'scale{i}.layer{j}'], atol=1e-4, rtol=0)


@pytest.mark.parametrize(('gan_type', 'name'), [('lsgan', 'ls'), ('hinge', 'hinge')])
def test_gan_losses_equal_the_reference(reference, gan_type, name):
    network, tensors, losses = reference
    _, fake, real = judge(network, tensors)
    criterion = build_loss({'type': 'MultiScaleGANLoss', 'gan_type': gan_type})
    assert criterion(fake, True, is_disc=False).item() == pytest.approx(losses[f'{name}.generator'], abs=1e-4)
    assert criterion(fake, False, is_disc=True).item() == pytest.approx(losses[f'{name}.discriminator_fake'], abs=1e-4)
    assert criterion(real, True, is_disc=True).item() == pytest.approx(losses[f'{name}.discriminator_real'], abs=1e-4)


def test_feature_matching_equals_the_reference(reference):
    network, tensors, losses = reference
    _, fake, real = judge(network, tensors)
    assert FeatureMatchingLoss()(fake, real).item() == pytest.approx(losses['feature_matching_weight_10'], abs=1e-4)


@pytest.mark.parametrize(('num_d', 'n_layers_d'), [(2, 4), (3, 3), (1, 2)])
def test_it_equals_the_hosts_network(num_d, n_layers_d):
    torch.manual_seed(0)
    host = HiFaceGANDiscriminator(num_feat=4, num_d=num_d, n_layers_d=n_layers_d).eval()
    ours = MultiscalePatchDiscriminator(num_feat=4, num_d=num_d, n_layers_d=n_layers_d).eval()
    ours.load_state_dict(host.state_dict())
    x = torch.rand(2, 6, 64, 96)
    for our_scale, host_scale in zip(ours(x), host(x), strict=True):
        for our_layer, host_layer in zip(our_scale, host_scale, strict=True):
            torch.testing.assert_close(our_layer, host_layer, atol=1e-5, rtol=0)


def test_every_parameter_gets_a_gradient():
    network = MultiscalePatchDiscriminator(num_feat=4)
    sum(scale[-1].square().mean() for scale in network(torch.rand(2, 6, 64, 64))).backward()
    assert [name for name, parameter in network.named_parameters() if parameter.grad is None] == []
