"""Tests of the guided restorer and its warp."""

import numpy as np
import pytest
import scipy.ndimage
import torch
from torch import nn

from hifacegan_plugin.archs import GuidedRestorer
from hifacegan_plugin.archs.guided_arch import warp
from hifacegan_plugin.archs.unet import UNet


def lively(**options) -> GuidedRestorer:
    """A small network with weights for which all parts affect the output."""
    torch.manual_seed(0)
    network = GuidedRestorer(num_feat=4, **options)
    for unet in (network.warping, network.reconstruction):
        nn.init.normal_(unet.tail.weight, std=0.1)
    return network


def test_the_warp_equals_scipys():
    rng = np.random.default_rng(0)
    image, flow = rng.random((17, 24)), rng.uniform(-0.3, 0.3, (2, 17, 24))
    rows, columns = np.mgrid[:17, :24]
    places = [rows + flow[1] * 17 / 2, columns + flow[0] * 24 / 2]
    expected = scipy.ndimage.map_coordinates(image, places, order=1, mode='nearest')
    warped = warp(torch.tensor(image)[None, None], torch.tensor(flow)[None])[0, 0]
    np.testing.assert_allclose(warped, expected, atol=1e-6)


def test_a_flow_in_bfloat16_does_not_blur_the_warp():
    images = torch.rand(1, 3, 16, 320)
    torch.testing.assert_close(warp(images, torch.zeros(1, 2, 16, 320).bfloat16()), images, atol=1e-4, rtol=0)


def test_initially_returns_the_image_and_the_guide():
    x, guide = torch.rand(2, 2, 3, 50, 64)
    image, byproducts = GuidedRestorer(num_feat=4)(x, guide, with_byproducts=True)
    assert torch.equal(image, x)
    assert byproducts.keys() == set(GuidedRestorer.byproducts) and byproducts['flow'].abs().max() == 0
    torch.testing.assert_close(byproducts['warped_guide'], guide, atol=1e-5, rtol=0)


@pytest.mark.parametrize(('height', 'width'), [(64, 96), (45, 70), (5, 3)])
def test_output_has_the_size_of_the_input_and_does_not_depend_on_the_batch(height, width):
    network = lively()
    x, guide = torch.rand(2, 2, 3, height, width)
    with torch.no_grad():
        together, byproducts = network(x, guide, with_byproducts=True)
        alone = torch.cat([network(x[i : i + 1], guide[i : i + 1]) for i in range(2)])
    assert together.shape == byproducts['warped_guide'].shape == x.shape
    torch.testing.assert_close(byproducts['warped_guide'], warp(guide, byproducts['flow']))
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)


def test_the_guide_affects_the_output_and_every_parameter_gets_a_gradient():
    network = lively()
    x, guide, other = torch.rand(3, 2, 3, 64, 64)
    image = network(x, guide)
    assert (image - network(x, other)).abs().max() > 1e-3
    image.square().mean().backward()
    assert [name for name, parameter in network.named_parameters() if parameter.grad is None] == []
    assert network.warping.encoder.head.weight.grad.abs().max() > 0


def test_a_guide_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r'guides of the shape of the images, \(1, 3, 64, 64\), not \(1, 3, 32, 64\)'):
        GuidedRestorer(num_feat=4)(torch.rand(1, 3, 64, 64), torch.rand(1, 3, 32, 64))


def test_the_levels_of_the_u_net_fit_together():
    torch.manual_seed(0)
    network = UNet(3, 5, [2, 4, 6])
    assert network(torch.rand(1, 3, 16, 24)).shape == (1, 5, 16, 24) and network.multiple == 4
    impulse = torch.zeros(1, 3, 64, 64, requires_grad=True)
    network(impulse)[0, :, 32, 32].sum().backward()
    rows = impulse.grad.abs().sum((0, 1, 3)).nonzero()
    assert 8 < rows.max() - rows.min() < 40  # more than one level's kernel, but not the whole image
