"""Tests of the Kullback-Leibler divergence against torch.distributions."""

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from hifacegan_plugin.losses import KLDivergenceLoss


def test_value_equals_the_divergence_of_torch():
    torch.manual_seed(0)
    mean, log_variance = torch.randn(2, 3, 256)
    expected = kl_divergence(Normal(mean, log_variance.mul(0.5).exp()), Normal(0, 1)).sum(1).mean()
    assert KLDivergenceLoss(loss_weight=7)(mean, log_variance).item() == pytest.approx(7 * expected.item(), rel=1e-5)


def test_zero_for_the_standard_normal_distribution():
    zeros = torch.zeros(2, 256, requires_grad=True)
    loss = KLDivergenceLoss()(zeros, zeros)
    loss.backward()
    assert loss.item() == 0 and not zeros.grad.any()
