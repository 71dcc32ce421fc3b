"""Tests of losses on additional outputs of a generator."""

import copy
import sys

import pytest
import torch
import torch.nn.functional as F
from basicsr.archs import build_network
from basicsr.models import build_model
from basicsr.train import train_pipeline
from conftest import REPOSITORY
from host_training import small_peer
from small_training import batch, built, train
from torch.distributions import Normal, kl_divergence

from hifacegan_plugin.archs.csr.paper import PaperCSR
from hifacegan_plugin.archs.csr.shapes import read_generator_options


@pytest.fixture
def vae(options) -> dict:
    """Options of a training of the variant vae with plain SGD, without discriminator and EMA."""
    options['network_g'].update(variant='vae', num_feat=2)
    del options['network_d'], options['train']['ema_decay']
    for name in ('gan_opt', 'feature_matching_opt', 'optim_d'):
        del options['train'][name]
    options['train'].update(optim_g={'type': 'SGD', 'lr': 0.1}, kl_opt={'type': 'KLDivergenceLoss', 'loss_weight': 0.3})
    return options


def expected_gradients(network, images, divergence_weight):
    """Return the gradients by definition, from one pass of the network, and the divergence."""
    torch.manual_seed(7)
    code = network.encoder(images['lq'])
    divergence = kl_divergence(Normal(code.mean, code.log_variance.mul(0.5).exp()), Normal(0, 1)).sum(1).mean()
    restored = network.replenish(*network.suppress(images['lq'], code))
    loss = 2 * F.l1_loss(restored, images['gt']) + divergence_weight * divergence
    names, parameters = zip(*network.named_parameters(), strict=True)
    return dict(zip(names, torch.autograd.grad(loss, parameters), strict=True)), divergence.item()


@pytest.mark.parametrize(('iteration', 'factor'), [(1, 0), (3, 0.5)])
def test_encoder_gradients_combine_divergence_and_pixel_loss(vae, iteration, factor):
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


def test_a_loss_of_a_frozen_part_does_not_stop_the_training(vae):
    vae['train']['lr_factors'] = {'encoder': 0}
    model = built(vae)
    before = model.net_g.encoder.mean.weight.clone(), model.net_g.start.weight.clone()
    train(model, range(1, 2))
    assert model.get_current_log()['l_g_kl'] > 0
    assert torch.equal(before[0], model.net_g.encoder.mean.weight)
    assert not torch.equal(before[1], model.net_g.start.weight)


def test_training_lowers_the_divergence(vae):
    vae['train']['kl_opt']['loss_weight'] = 1
    vae['train']['optim_g'] = {'type': 'Adam', 'lr': 1e-3}
    model = built(vae)
    torch.nn.init.constant_(model.net_g.encoder.mean.bias, 1.0)
    losses = []
    for iteration in range(1, 9):
        train(model, range(iteration, iteration + 1))
        losses.append(model.get_current_log()['l_g_kl'])
    assert max(losses[-3:]) < 0.75 * losses[0]


def test_kl_opt_without_latent_codes_is_refused(vae):
    vae['network_g']['variant'] = 'spade'
    with pytest.raises(ValueError, match=r'train: kl_opt: network_g \(PaperCSR\) does not return mean, log_variance'):
        build_model(vae)


def test_kl_opt_alone_is_refused(vae):
    del vae['train']['pixel_opt']
    with pytest.raises(ValueError, match='set at least one of pixel_opt, perceptual_opt and gan_opt'):
        build_model(vae)


def test_latent_codes_do_not_require_kl_opt(vae):
    del vae['train']['kl_opt']
    model = train(built(vae), range(1, 2))
    assert isinstance(model.net_g, PaperCSR) and set(model.get_current_log()) == {'l_g_pix'}


@pytest.mark.parametrize(
    ('peer', 'losses'), [('peers/vae', ['kl']), ('peers/guided', ['warp', 'flow']), ('faces_peers/stylegan', ['pix'])]
)
def test_the_host_trains_peers_from_their_options_files(small_lmdb, tmp_path, monkeypatch, caplog, peer, losses):
    """A short training by the host's pipeline, including checkpoint and validation."""
    options = REPOSITORY / f'options/{peer}.yml'
    monkeypatch.setattr(sys, 'argv', ['train.py', '-opt', str(options), *small_peer(small_lmdb)])
    monkeypatch.chdir(tmp_path)
    caplog.set_level('INFO')
    train_pipeline(str(tmp_path))
    assert all(f'l_g_{loss}:' in caplog.text for loss in losses) and '# psnr:' in caplog.text
    (weights,) = tmp_path.glob('experiments/*/models/net_g_latest.pth')
    file = torch.load(weights)
    network = build_network(file['network_g'])
    network.load_state_dict(file['params'])
    assert peer != 'peers/vae' or read_generator_options(file['params'])['variant'] == 'vae'


# ------------------------------------------------------------------------------------------------------- guides


@pytest.fixture
def guided(vae) -> dict:
    """Options of a training of a generator that takes guides."""
    vae['network_g'] = {'type': 'GuidedRestorer', 'num_feat': 4}
    del vae['train']['kl_opt']
    vae['train'].update(
        warping_opt={'type': 'L1Loss', 'loss_weight': 0.5}, flow_opt={'type': 'WeightedTVLoss', 'loss_weight': 0.2}
    )
    return vae


def test_gradients_combine_warping_flow_and_pixel_losses(guided):
    model = built(guided)
    for unet in (model.net_g.warping, model.net_g.reconstruction):
        torch.nn.init.normal_(unet.tail.weight, std=0.1)
    images = batch(1) | {'guide': batch(2)['gt']}
    network = copy.deepcopy(model.net_g)
    restored, byproducts = network(images['lq'], images['guide'], with_byproducts=True)
    flow = byproducts['flow']
    variation = flow.diff(dim=2).abs().mean() + flow.diff(dim=3).abs().mean()
    warping = F.l1_loss(byproducts['warped_guide'], images['gt'])
    (2 * F.l1_loss(restored, images['gt']) + 0.5 * warping + 0.2 * variation).backward()
    model.feed_data(images)
    model.optimize_parameters(1)
    log = model.get_current_log()
    assert (log['l_g_warp'], log['l_g_flow']) == pytest.approx((0.5 * warping.item(), 0.2 * variation.item()), rel=1e-4)
    for (name, parameter), other in zip(model.net_g.named_parameters(), network.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, other.grad, atol=1e-5, rtol=1e-3, msg=name)


def test_validation_uses_guides_and_refuses_images_without(guided):
    model = built(guided)
    torch.nn.init.normal_(model.net_g.reconstruction.tail.weight, std=0.1)
    images = {name: image[:1] for name, image in batch(1).items()}
    one, other = (model.restore(images | {'guide': batch(seed)['gt'][:1]})['result'] for seed in (2, 3))
    assert (one != other).any()
    with pytest.raises(ValueError, match='network_g: GuidedRestorer needs a guide for each image'):
        model.restore(images)
