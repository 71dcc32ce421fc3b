"""Tests of progressive training."""

import copy
import logging

import pytest
import torch
import torch.nn.functional as F
from basicsr.models import build_model
from small_training import batch, built, train

from hifacegan_plugin.archs import CSRGenerator
from hifacegan_plugin.archs.csr.shapes import read_generator_options


@pytest.fixture
def growing(options) -> dict:
    """Options of a training that starts at 1/8 of the size and reaches the full size in iteration 6."""
    options['train']['progressive'] = [2, 4, 5]
    return options


def test_the_output_doubles_after_each_milestone(growing):
    model = built(growing)
    sizes = [train(model, range(i, i + 1)).output.shape[-1] for i in range(1, 8)]
    assert sizes == [8, 8, 16, 16, 32, 64, 64]


def test_a_coarse_phase_compares_with_the_area_mean_of_the_ground_truth(growing):
    model = train(built(growing), range(1, 2))
    truth = batch(1)['gt'].unflatten(-1, (8, 8)).unflatten(-3, (8, 8)).mean((-1, -3))
    loss = growing['train']['pixel_opt']['loss_weight'] * (model.output - truth).abs().mean()
    assert model.get_current_log()['l_g_pix'] == pytest.approx(loss.item(), rel=1e-5)


def test_parts_that_a_phase_does_not_use_are_frozen(growing):
    model = built(growing)
    before = copy.deepcopy(model.net_g.state_dict())

    def moved() -> set[str]:
        names = {n for n, p in model.net_g.named_parameters() if not torch.equal(before[n], p)}
        return {'.'.join(name.split('.')[:2]) for name in names if name.startswith(('blocks', 'coarse', 'to_picture'))}

    coarse = {f'blocks.{i}' for i in range(4)}
    assert moved_by(model, 1, moved) == coarse | {'coarse_outputs.0'}
    assert moved_by(model, 3, moved) == coarse | {'blocks.4', 'coarse_outputs.0', 'coarse_outputs.1'}
    for name, parameter in model.net_g.named_parameters():
        assert parameter.requires_grad == (
            not name.startswith(('blocks.5', 'blocks.6', 'coarse_outputs.0', 'coarse_outputs.2', 'to_picture'))
        ), name
        if parameter.requires_grad:  # DistributedDataParallel waits for its gradient
            assert parameter.grad is not None, name


def moved_by(model, iteration: int, moved) -> set[str]:
    train(model, range(iteration, iteration + 1))
    return moved()


def test_frozen_parts_stay_frozen_through_all_phases(growing):
    growing['train']['lr_factors'] = {'blocks.2': 0, 'blocks.5': 0}
    model = built(growing)
    before = copy.deepcopy(model.net_g.state_dict())
    train(model, range(1, 8))
    for name, parameter in model.net_g.named_parameters():
        if name.startswith(('blocks.2', 'blocks.5')):
            assert torch.equal(before[name], parameter), name


@pytest.mark.parametrize('global_residual', [False, True])
def test_coarse_restorations_are_enlarged_for_validation(global_residual):
    torch.manual_seed(0)
    network = CSRGenerator(num_feat=4, global_residual=global_residual)
    network.add_coarse_outputs()
    network.halvings = 2
    x = torch.rand(1, 3, 70, 100)
    small = network.train()(x)
    assert small.shape == (1, 3, 18, 25)
    large = network.eval()(x)
    assert large.shape == x.shape
    if global_residual:  # initial corrections are close to zero, so the output is the downsized input
        padded = F.pad(x, (0, 28, 0, 26), mode='reflect')
        averaged = F.avg_pool2d(padded, 4)
        torch.testing.assert_close(small, averaged[..., :18, :25], atol=1e-3, rtol=0)
        expected = F.interpolate(averaged, scale_factor=4, mode='bilinear')[..., :70, :100]
        torch.testing.assert_close(large, expected, atol=1e-3, rtol=0)


def test_resumed_training_equals_uninterrupted_training(growing):
    model = train(built(growing), range(1, 4))
    model.save(0, 3)
    train(model, range(4, 7))
    path = growing['path']
    path['pretrain_network_g'] = f'{path["models"]}/net_g_3.pth'
    path['pretrain_network_d'] = f'{path["models"]}/net_d_3.pth'
    resumed = built(growing, seed=1)
    resumed.resume_training(torch.load(f'{path["training_states"]}/3.state'))
    train(resumed, range(4, 7))
    for name in ('net_g', 'net_g_ema', 'net_d'):
        for key, value in getattr(model, name).state_dict().items():
            assert torch.equal(getattr(resumed, name).state_dict()[key], value), f'{name}: {key}'


def test_a_complete_training_that_is_started_again_stays_at_the_full_size(growing):
    train(built(growing), range(1, 7)).save(0, 6)
    path = growing['path']
    path['pretrain_network_g'] = f'{path["models"]}/net_g_6.pth'
    path['pretrain_network_d'] = f'{path["models"]}/net_d_6.pth'
    resumed = built(growing)
    resumed.resume_training(torch.load(f'{path["training_states"]}/6.state'))
    resumed.save(-1, -1)
    content = torch.load(f'{path["models"]}/net_g_latest.pth')
    for key in ('params', 'params_ema'):
        assert 'halvings' not in read_generator_options(content[key])


def test_weights_of_progressive_training_load_into_a_plain_network(growing, caplog):
    train(built(growing), range(1, 7)).save(0, 6)
    content = torch.load(f'{growing["path"]["models"]}/net_g_6.pth')
    network = CSRGenerator(num_feat=4)
    with caplog.at_level(logging.INFO, 'basicsr'):
        network.load_state_dict(content['params'])
    assert 'dropped 6 tensors' in caplog.text
    assert torch.equal(network.to_picture.weight, content['params']['to_picture.weight'])


@pytest.mark.parametrize('milestones', [[], [4, 2], [1, 2, 3, 4], [2, 2], 100])
def test_invalid_milestones_are_refused(growing, milestones):
    growing['train']['progressive'] = milestones
    if milestones == []:
        assert train(built(growing), range(1, 2)).output.shape[-1] == 64
    else:
        with pytest.raises(ValueError, match='progressive: give the last iterations of one to three coarse phases'):
            build_model(growing)


def test_other_generators_are_refused(growing):
    growing['network_g'] = {'type': 'RRDBNet', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 4, 'num_block': 1}
    with pytest.raises(ValueError, match='progressive: RRDBNet cannot grow, only CSRGenerator can'):
        build_model(growing)
