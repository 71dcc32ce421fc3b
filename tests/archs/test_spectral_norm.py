"""Tests of spectral norm against torch's."""

import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from hifacegan_plugin.archs.spectral_norm import apply_spectral_norm


def convolution(apply, device='cpu'):
    torch.manual_seed(0)
    with torch.device(device):
        conv = nn.Conv2d(3, 8, 3)
        apply(conv)
    return conv


def weights_of(conv):
    """Return the weights of two forward passes in training, and of one in evaluation."""
    trained = [conv.train().weight.clone() for _ in range(2)]
    return [*trained, conv.eval().weight]


def test_weights_equal_those_of_torch():
    for ours, theirs in zip(weights_of(convolution(apply_spectral_norm)), weights_of(convolution(spectral_norm))):
        assert torch.equal(ours, theirs)


def test_weights_that_are_loaded_into_a_network_without_values_equal_those_of_torch():
    expected, conv = convolution(spectral_norm), convolution(apply_spectral_norm, 'meta')
    state = {key: value.clone() for key, value in expected.state_dict().items()}
    conv.load_state_dict(state, assign=True)
    for ours, theirs in zip(weights_of(conv), weights_of(expected)):
        assert torch.equal(ours, theirs)
