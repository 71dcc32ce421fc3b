"""Tests that compare networks on a GPU and on the CPU."""

import copy
import statistics

import pytest
import torch
from conftest import without_tf32

from hifacegan_plugin.archs import MultiscalePatchDiscriminator

pytestmark = pytest.mark.cuda

FORMS = [{}, {'norm': 'rms'}, {'variant': 'lip_spade'}, {'variant': 'spade', 'norm': 'instance'}, {'preset': 'fast'}]
# Of the norm of a gradient: near its kink, an activation has another slope in float32 than in float64. On a CPU, the
# layout of the images in memory alone changes a gradient by as much as 0.7 % in that way.
GRADIENT_ERROR = 0.05
BF16_ERROR = 0.08  # relative to the norm of the outputs, after about 40 roundings to 8 bits (0.4 %)


def gradients_of(network, output):
    """Return the gradients of all weights for a loss that depends on all output values."""
    names, parameters = zip(*network.named_parameters(), strict=True)
    weights = torch.linspace(-1, 1, output.numel(), device=output.device).view_as(output)
    return dict(zip(names, torch.autograd.grad((output * weights).mean(), parameters), strict=True))


def relative_error(actual, expected):
    """Return the norm of the difference relative to the norm of the expected values."""
    expected = expected.double()
    return ((actual.double().cpu() - expected).norm() / expected.norm()).item()


@pytest.mark.parametrize('options', FORMS, ids=str)
@pytest.mark.parametrize('mode', ['train', 'eval'])
def test_generator_equals_the_cpu(options, mode, lively_generator, device, record_property):
    generator = lively_generator(**options)
    generator.train(mode == 'train')
    exact, on_card = copy.deepcopy(generator).double(), copy.deepcopy(generator).to(device)
    x = torch.rand(2, 3, 96, 128, generator=torch.Generator().manual_seed(1))
    with without_tf32():
        expected, actual = exact(x.double()), on_card(x.to(device))
        record_property('largest_error', (actual.cpu() - expected).abs().max().item())
        torch.testing.assert_close(actual.cpu().double(), expected, atol=1e-4, rtol=0)
        gradients, exact_gradients = gradients_of(on_card, actual), gradients_of(exact, expected)
    names = [name for name, gradient in exact_gradients.items() if gradient.norm() > 1e-7]
    errors = {name: relative_error(gradients[name], exact_gradients[name]) for name in names}
    record_property('error_of_gradients', max(errors.values()))
    assert not {name: error for name, error in errors.items() if error > GRADIENT_ERROR}
    assert statistics.median(errors.values()) < 1e-3  # few activations are close to their kink


@pytest.mark.parametrize('options', FORMS, ids=str)
def test_generator_in_bfloat16_is_close(options, lively_generator, device, record_property):
    generator = lively_generator(**options)
    x = torch.rand(2, 3, 96, 128, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = copy.deepcopy(generator)(x)
        with torch.autocast(device.type, torch.bfloat16):
            actual = generator.to(device)(x.to(device))
    error = relative_error(actual, expected)
    record_property('relative_error', error)
    assert error < BF16_ERROR


def test_discriminator_equals_the_cpu(device, record_property):
    torch.manual_seed(0)
    discriminator = MultiscalePatchDiscriminator(num_feat=16)
    for parameter in discriminator.parameters():
        if parameter.ndim == 4:
            torch.nn.init.xavier_normal_(parameter)
    on_card = copy.deepcopy(discriminator).to(device)
    x = torch.rand(2, 6, 96, 128)
    with without_tf32():
        expected, actual = discriminator(x), on_card(x.to(device))
        for scale, of_card in zip(expected, actual, strict=True):
            for layer, layer_of_card in zip(scale, of_card, strict=True):
                torch.testing.assert_close(layer_of_card.cpu(), layer, atol=1e-4, rtol=1e-4)
    with torch.autocast(device.type, torch.bfloat16):
        logits = on_card(x.to(device))[0][-1]
    error = relative_error(logits, expected[0][-1])
    record_property('relative_error_bf16', error)
    assert error < BF16_ERROR


def test_channels_last_does_not_change_images(lively_generator, device):
    generator = lively_generator().to(device)
    x = torch.rand(2, 3, 96, 128, generator=torch.Generator().manual_seed(1)).to(device)
    with without_tf32(), torch.no_grad():
        expected = copy.deepcopy(generator)(x)
        last = generator.to(memory_format=torch.channels_last)
        actual = last(x.to(memory_format=torch.channels_last))
    torch.testing.assert_close(actual, expected, atol=1e-4, rtol=0)
