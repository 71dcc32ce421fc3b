"""Losses of what a generator gives beside the images."""

import copy
import sys

import pytest
import torch
import torch.nn.functional as F
from basicsr.models import build_model
from conftest import REPOSITORY
from host_training import run, small_peer
from small_training import batch, built, train
from torch.distributions import Normal, kl_divergence

from hifacegan_plugin.archs import CSRGenerator
from hifacegan_plugin.archs.shapes import read_generator_options


@pytest.fixture
def vae(options) -> dict:
    """A training of the variant vae whose every step can be followed: no discriminator, no average, plain descent."""
    options['network_g'].update(variant='vae', num_feat=2)
    del options['network_d'], options['train']['ema_decay']
    for name in ('gan_opt', 'feature_matching_opt', 'optim_d'):
        del options['train'][name]
    options['train'].update(optim_g={'type': 'SGD', 'lr': 0.1}, kl_opt={'type': 'KLDivergenceLoss', 'loss_weight': 0.3})
    return options


def expected_gradients(network, images, divergence_weight):
    """Return the gradients of the encoder and the start by definition, from one pass of the network."""
    torch.manual_seed(7)
    code = network.encoder(images['lq'])
    divergence = kl_divergence(Normal(code.mean, code.log_variance.mul(0.5).exp()), Normal(0, 1)).sum(1).mean()
    restored = network.replenish(*network.suppress(images['lq'], code))
    loss = 2 * F.l1_loss(restored, images['gt']) + divergence_weight * divergence
    names, parameters = zip(*network.named_parameters(), strict=True)
    return dict(zip(names, torch.autograd.grad(loss, parameters), strict=True)), divergence.item()


@pytest.mark.parametrize(('iteration', 'factor'), [(1, 0), (3, 0.5)])
def test_the_divergence_and_the_image_steer_the_encoder_together(vae, iteration, factor):
    vae['train']['loss_weight_schedule'] = {'kl_opt': [[1, 0], [5, 1]]}
    model = built(vae)
    for parameter in model.net_g.encoder.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    before = copy.deepcopy(model.net_g)
    gradients, divergence = expected_gradients(copy.deepcopy(before), batch(iteration), 0.3 * factor)
    torch.manual_seed(7)
    model.feed_data(batch(iteration))
    model.optimize_parameters(iteration)
    assert model.get_current_log()['l_g_kl'] == pytest.approx(0.3 * factor * divergence, rel=1e-4)
    for name, parameter in model.net_g.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name], atol=1e-5, rtol=1e-3, msg=name)


def test_codes_come_closer_to_the_normal_distribution(vae):
    vae['train']['kl_opt']['loss_weight'] = 1
    vae['train']['optim_g'] = {'type': 'Adam', 'lr': 1e-3}
    model = built(vae)
    torch.nn.init.constant_(model.net_g.encoder.mean.bias, 1.0)
    losses = []
    for iteration in range(1, 9):
        train(model, range(iteration, iteration + 1))
        losses.append(model.get_current_log()['l_g_kl'])
    assert max(losses[-3:]) < 0.75 * losses[0]


def test_a_generator_without_a_code_is_refused(vae):
    vae['network_g']['variant'] = 'spade'
    with pytest.raises(ValueError, match=r'train: kl_opt: network_g \(PaperCSR\) does not give mean, log_variance'):
        build_model(vae)


def test_the_divergence_alone_trains_nothing(vae):
    del vae['train']['pixel_opt']
    with pytest.raises(ValueError, match='set at least one of pixel_opt, perceptual_opt and gan_opt'):
        build_model(vae)


def test_a_code_needs_no_loss_of_its_own(vae):
    del vae['train']['kl_opt']
    model = train(built(vae), range(1, 2))
    assert isinstance(model.net_g, CSRGenerator) and set(model.get_current_log()) == {'l_g_pix'}


def test_the_host_trains_the_variant(small_lmdb, tmp_path):
    """One training of the host, from its options file: checkpoint and validation included."""
    options = REPOSITORY / 'options/peers/vae.yml'
    output = run([sys.executable, '-m', 'basicsr.train', '-opt', options, *small_peer(small_lmdb)], tmp_path)
    assert 'l_g_kl:' in output and '# psnr:' in output
    weights = torch.load(tmp_path / 'experiments/peer_vae/models/net_g_latest.pth')['params']
    assert read_generator_options(weights)['variant'] == 'vae'
