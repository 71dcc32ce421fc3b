"""Tests of the feature matching loss."""

import numpy as np
import pytest
import torch
from basicsr.losses import build_loss

from hifacegan_plugin.losses import FeatureMatchingLoss


def features(seed):
    """Return outputs of a discriminator with two scales, each with two layers and logits."""
    generator = torch.Generator().manual_seed(seed)
    shapes = [(2, 4, 8, 8), (2, 8, 4, 4), (2, 1, 5, 5)]
    return [[torch.rand(shape, generator=generator, requires_grad=True) for shape in shapes] for _ in range(2)]


@pytest.mark.parametrize(('criterion', 'distance'), [('l1', np.abs), ('l2', np.square)])
def test_value_equals_the_definition(criterion, distance):
    fake, real = features(0), features(1)
    expected = np.mean(
        [
            sum(distance(f.detach().numpy() - r.detach().numpy()).mean() for f, r in zip(f_scale[:-1], r_scale[:-1]))
            for f_scale, r_scale in zip(fake, real)
        ]
    )
    loss = FeatureMatchingLoss(criterion=criterion, loss_weight=7.0)(fake, real)
    assert loss.item() == pytest.approx(7 * expected, rel=1e-5)


def test_no_gradients_for_real_features_and_logits():
    fake, real = features(0), features(1)
    FeatureMatchingLoss()(fake, real).backward()
    assert all(layer.grad is None for scale in real for layer in scale)
    for scale in fake:
        assert scale[-1].grad is None
        assert all(layer.grad is not None for layer in scale[:-1])


def test_the_name_in_the_hosts_options():
    loss = build_loss({'type': 'GANFeatLoss', 'loss_weight': 10.0, 'criterion': 'l1'})
    assert loss(features(0), features(1)) == FeatureMatchingLoss()(features(0), features(1))
