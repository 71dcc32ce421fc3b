"""Tests of the model: updates, EMA, schedules, checkpoints and invalid options."""

import copy
import logging
import signal
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from basicsr.losses import build_loss
from basicsr.models import build_model
from small_training import OPTIONS, batch, built, train
from torch.nn.utils import parametrize

from hifacegan_plugin.archs.csr.shapes import read_generator_options
from hifacegan_plugin.models import epoch
from hifacegan_plugin.weights import WeightsError


def plain_update(net_g, net_d, optimizer_g, optimizer_d, data):
    """Update both networks as the paper describes it, with separate passes of the discriminator."""
    pixel = build_loss(dict(OPTIONS['train']['pixel_opt']))
    gan = build_loss(dict(OPTIONS['train']['gan_opt']))
    feature = build_loss(dict(OPTIONS['train']['feature_matching_opt']))
    frozen = copy.deepcopy(net_d)  # the pass for the generator must not update the discriminator's spectral norm
    restored = net_g(data['lq'])
    real_pair = torch.cat([data['lq'], data['gt']], 1)

    def judge(network, image):
        both = network(torch.cat([torch.cat([data['lq'], image], 1), real_pair]))
        return [[[layer[s] for layer in scale] for scale in both] for s in (slice(0, 2), slice(2, 4))]

    fake, real = judge(frozen, restored)
    optimizer_g.zero_grad()
    (pixel(restored, data['gt']) + gan(fake, True) + feature(fake, real)).backward()
    fake, real = judge(net_d, restored.detach())
    optimizer_d.zero_grad()
    ((gan(real, True, is_disc=True) + gan(fake, False, is_disc=True)) / 2).backward()
    optimizer_g.step()
    optimizer_d.step()


def test_update_equals_the_plain_update(options):
    options['train']['ema_decay'] = 0
    model = built(options)
    net_g, net_d = copy.deepcopy(model.net_g), copy.deepcopy(model.net_d)
    optimizers = [
        torch.optim.Adam(network.parameters(), **{k: v for k, v in options['train'][name].items() if k != 'type'})
        for name, network in (('optim_g', net_g), ('optim_d', net_d))
    ]
    for iteration in (1, 2):
        model.feed_data(batch(iteration))
        model.optimize_parameters(iteration)
        plain_update(net_g, net_d, *optimizers, batch(iteration))
    for network, plain in ((model.net_g, net_g), (model.net_d, net_d)):
        for (name, parameter), expected in zip(network.named_parameters(), plain.parameters(), strict=True):
            # Compare the gradients: Adam amplifies differences between small ones.
            torch.testing.assert_close(parameter.grad, expected.grad, atol=1e-6, rtol=1e-3, msg=lambda m, n=name: n + m)


def test_a_grey_network_is_trained_on_the_luma_of_rgb_images(options):
    options['network_g']['num_in_ch'] = 1
    options['network_d'] |= {'num_in_ch': 1, 'num_out_ch': 1}
    models = [built(copy.deepcopy(options)) for _ in range(2)]
    of_colours = batch(1)
    of_luma = {
        side: (0.299 * rgb[:, 0] + 0.587 * rgb[:, 1] + 0.114 * rgb[:, 2])[:, None] for side, rgb in of_colours.items()
    }
    for model, images in zip(models, (of_colours, of_luma)):
        model.feed_data(images)
        model.optimize_parameters(1)
    assert models[0].output.shape == (2, 1, 64, 64)
    assert models[0].get_current_log() == pytest.approx(models[1].get_current_log(), rel=1e-4)


def test_an_rgb_network_is_trained_on_grey_images_with_repeated_channels(options):
    model = built(options)
    grey = {side: images[:, :1] for side, images in batch(1).items()}
    model.feed_data(grey)
    assert torch.equal(model.lq, grey['lq'].repeat(1, 3, 1, 1)) and torch.equal(model.gt, grey['gt'].repeat(1, 3, 1, 1))
    model.optimize_parameters(1)


def test_each_network_runs_once_per_iteration(options):
    model = built(options)
    calls = {'g': 0, 'd': 0}
    for name, network in (('g', model.net_g), ('d', model.net_d)):
        network.register_forward_hook(lambda *_, name=name: calls.update({name: calls[name] + 1}))
    train(model, range(1, 4))
    assert calls == {'g': 3, 'd': 3}


def test_uint8_images_are_converted_as_by_the_data_set(options):
    options['train']['channels_last'] = True
    model = built(options)
    levels = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16).expand(2, 3, 16, 16)
    model.feed_data({'lq': levels, 'gt': levels.flip(2)})
    expected = torch.from_numpy(levels.numpy().astype(np.float32) / np.float32(255))
    assert torch.equal(model.lq, expected) and torch.equal(model.gt, expected.flip(2))
    model.feed_data({'lq': levels})  # without ground truth
    assert torch.equal(model.lq, expected)


def test_training_lowers_the_pixel_loss(options):
    for name in ('gan_opt', 'feature_matching_opt'):
        del options['train'][name]
    model = built(options)
    losses = []
    for iteration in range(1, 31):
        model.feed_data(batch(0))
        model.optimize_parameters(iteration)
        losses.append(model.get_current_log()['l_g_pix'])
    assert losses[-1] < 0.8 * losses[0]


def test_net_d_iters_and_net_d_init_iters(options):
    options['train'].update(net_d_iters=2, net_d_init_iters=2)
    model = built(options)
    moved = []
    for iteration in range(1, 7):
        before = model.net_g.to_picture.weight.clone()
        train(model, range(iteration, iteration + 1))
        moved.append(not torch.equal(before, model.net_g.to_picture.weight))
    assert moved == [False, False, False, True, False, True]


@pytest.mark.parametrize(
    'left_out',
    [
        ('gan_opt', 'feature_matching_opt'),
        ('feature_matching_opt',),
        ('pixel_opt',),
        ('pixel_opt', 'feature_matching_opt'),
    ],
)
def test_subsets_of_the_losses(options, left_out):
    for name in left_out:
        del options['train'][name]
    log = train(built(options), range(1, 3)).get_current_log()
    assert ('l_g_gan' in log) == ('gan_opt' not in left_out)
    assert all(value == value for value in log.values())


@pytest.mark.parametrize('loss', ['GANLoss', 'MultiScaleGANLoss'])
def test_discriminators_with_one_output(options, loss):
    del options['train']['feature_matching_opt']
    options['network_d'] = {'type': 'UNetDiscriminatorSN', 'num_in_ch': 6, 'num_feat': 4}
    options['train']['gan_opt']['type'] = loss
    model = built(options)
    net_g, net_d = copy.deepcopy(model.net_g), copy.deepcopy(model.net_d)
    log = train(model, range(1, 2)).get_current_log()
    data = batch(1)
    with torch.no_grad():
        pairs = [torch.cat([data['lq'], image], 1) for image in (net_g(data['lq']), data['gt'])]
        fake, real = net_d(torch.cat(pairs)).chunk(2)
    expected = {
        'l_g_gan': 0.5 * (fake - 1).square().mean(),
        'l_d_fake': fake.square().mean(),
        'l_d_real': (real - 1).square().mean(),
    }
    assert {name: log[name] for name in expected} == pytest.approx({k: v.item() for k, v in expected.items()}, rel=1e-4)


@pytest.mark.parametrize(
    ('network', 'message'),
    [
        ({}, r'GANLoss takes one map, but network_d returns several: use MultiScaleGANLoss'),
        (
            {'type': 'UNetDiscriminatorSN', 'num_in_ch': 6, 'num_feat': 4},
            'feature_matching_opt: network_d does not return the outputs of all its layers',
        ),
    ],
    ids=['several maps', 'one map'],
)
def test_losses_that_do_not_fit_the_discriminator_are_refused(options, network, message):
    options['network_d'] = network or options['network_d']
    options['train']['gan_opt']['type'] = 'GANLoss'
    with pytest.raises(ValueError, match=message):
        train(built(options), range(1, 2))


@pytest.mark.parametrize(
    ('scale', 'network', 'message'),
    [
        (2, {'type': 'CSRGenerator', 'num_feat': 4}, 'scale: network_g returns images of 64 x 64 pixels for 64 x 64'),
        (2, {'type': 'MSRResNet', 'num_feat': 4, 'num_block': 1, 'upscale': 2}, 'train: gan_opt: .* of the same size'),
        (None, {'type': 'CSRGenerator', 'num_feat': 4}, 'datasets: train: .* no ground truth'),
    ],
)
def test_images_of_wrong_sizes_are_refused(options, scale, network, message):
    options['network_g'] = network
    model = built(options)
    truth = {'gt': torch.rand(2, 3, 64 * scale, 64 * scale)} if scale else {}
    model.feed_data({'lq': torch.rand(2, 3, 64, 64), **truth})
    with pytest.raises(ValueError, match=message):
        model.optimize_parameters(1)


def test_averaged_weights_equal_their_definition(options):
    model = built(options)
    name = 'to_picture.weight'
    expected = model.net_g.get_parameter(name).clone()
    for iteration in range(1, 5):
        train(model, range(iteration, iteration + 1))
        decay = min(0.9, (1 + iteration) / (10 + iteration))
        expected = decay * expected + (1 - decay) * model.net_g.get_parameter(name)
    torch.testing.assert_close(model.net_g_ema.get_parameter(name), expected)


def test_the_average_counts_updates_of_the_generator(options):
    options['train'].update(net_d_iters=2, net_d_init_iters=2)
    model = built(options)
    initial = model.net_g.to_picture.weight.clone()
    train(model, range(1, 5))  # the generator is updated once
    expected = (2 * initial + 9 * model.net_g.to_picture.weight) / 11
    torch.testing.assert_close(model.net_g_ema.to_picture.weight, expected)


def test_averaged_weights_have_spectral_norm_one(options):
    model = train(built(options), range(1, 16))
    for module in model.net_g_ema.modules():
        if parametrize.is_parametrized(module, 'weight'):
            assert torch.linalg.matrix_norm(module.weight.flatten(1), 2).item() == pytest.approx(1, abs=0.1)


def test_testing_uses_averaged_weights_and_does_not_affect_training(options):
    model = train(built(options), range(1, 4))
    state = {key: value.clone() for key, value in model.net_g.state_dict().items()}
    model.feed_data(batch(9))
    model.test()
    with torch.no_grad():
        torch.testing.assert_close(model.output, model.net_g_ema.eval()(batch(9)['lq']))
    assert model.net_g.training
    assert all(torch.equal(state[key], value) for key, value in model.net_g.state_dict().items())


def test_linear_decay_of_learning_rates(options):
    model = built(options)
    rates = {'g': [], 'd': []}
    for iteration in range(1, 9):
        model.update_learning_rate(iteration)
        for name, optimizer in zip(rates, model.optimizers, strict=True):
            rates[name].append(optimizer.param_groups[0]['lr'])
            optimizer.step()
    expected = [1, 1, 1, 0.75, 0.5, 0.25, 0, 0]
    assert rates['g'] == pytest.approx([1e-3 * f for f in expected])
    assert rates['d'] == pytest.approx([4e-3 * f for f in expected])


def test_resumed_training_equals_uninterrupted_training(options):
    model = train(built(options), range(1, 4))
    model.save(0, 3)
    schedules = [scheduler.state_dict() for scheduler in model.schedulers]
    train(model, range(4, 6))

    path = options['path']
    path['pretrain_network_g'] = f'{path["models"]}/net_g_3.pth'
    path['pretrain_network_d'] = f'{path["models"]}/net_d_3.pth'
    resumed = built(options, seed=1)
    resumed.resume_training(torch.load(f'{path["training_states"]}/3.state'))
    assert [scheduler.state_dict() for scheduler in resumed.schedulers] == schedules
    train(resumed, range(4, 6))
    for name in ('net_g', 'net_g_ema', 'net_d'):
        for key, value in getattr(model, name).state_dict().items():
            assert torch.equal(getattr(resumed, name).state_dict()[key], value), f'{name}: {key}'


def test_best_figures_come_from_the_checkpoint_if_the_file_is_damaged(options, caplog):
    model = built(options)
    model.best_figures.records = {'val': {'psnr': {'better': 'higher', 'val': 30.0, 'iter': 2}}}
    model.save(0, 3)
    states = Path(options['path']['training_states'])
    (states / 'best_figures.json').touch()
    resumed = built(options)
    resumed.resume_training(torch.load(states / '3.state'))
    assert resumed.best_figures.records == model.best_figures.records
    assert 'best_figures.json cannot be read (Expecting value' in caplog.text


SCHEDULES = {
    'linear': (
        {'type': 'LinearDecayLR', 'start_iter': 2, 'end_iter': 6},
        {'type': 'LinearDecayLR', 'start_iter': 4, 'end_iter': 12},
    ),
    'steps': (
        {'type': 'MultiStepLR', 'milestones': [100], 'gamma': 0.5},
        {'type': 'MultiStepLR', 'milestones': [2, 8], 'gamma': 0.1},
    ),
    'cosine': (
        {'type': 'CosineAnnealingRestartLR', 'periods': [6], 'restart_weights': [1], 'eta_min': 1e-7},
        {'type': 'CosineAnnealingRestartLR', 'periods': [5, 8], 'restart_weights': [1, 0.5], 'eta_min': 1e-6},
    ),
}


def rates(model, iterations: range) -> list[float]:
    """Return the generator's learning rate at each iteration, without training."""
    seen = []
    for iteration in iterations:
        for optimizer in model.optimizers:
            optimizer.step()
        model.update_learning_rate(iteration, model.opt['train'].get('warmup_iter', -1))
        seen += model.get_current_learning_rate()
    return seen


@pytest.mark.parametrize('warmup', [-1, 8], ids=['', 'warmup'])
@pytest.mark.parametrize(('before', 'now'), SCHEDULES.values(), ids=SCHEDULES)
def test_resumed_schedules_follow_the_current_options(before, now, warmup, options):
    options['train'] |= {'scheduler': before, 'total_iter': 6}
    model = train(built(options), range(1, 6))
    model.save(0, 5)
    options['train'] |= {'scheduler': now, 'warmup_iter': warmup, 'total_iter': 12}
    options['train']['optim_g']['lr'] = 5e-4
    resumed = built(options)
    resumed.resume_training(torch.load(f'{options["path"]["training_states"]}/5.state'))
    assert rates(resumed, range(6, 13)) == rates(built(options), range(1, 13))[5:]


def test_resumed_optimisers_have_current_options_and_saved_moments(options, caplog):
    model = train(built(options), range(1, 4))
    model.save(0, 3)
    options['train']['optim_g'] |= {'betas': [0.5, 0.7], 'weight_decay': 0.1}
    resumed = built(options)
    with caplog.at_level(logging.INFO):
        resumed.resume_training(torch.load(f'{options["path"]["training_states"]}/3.state'))
    group = resumed.optimizer_g.param_groups[0]
    assert (group['betas'], group['weight_decay']) == ((0.5, 0.7), 0.1)
    assert 'train: optim_g: weight_decay changes from 0 to 0.1' in caplog.text
    pairs = zip(model.optimizer_g.state.values(), resumed.optimizer_g.state.values(), strict=True)
    assert all(torch.equal(before[key], now[key]) for before, now in pairs for key in ('step', 'exp_avg', 'exp_avg_sq'))
    train(resumed, range(4, 6))


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (
            {'gan_opt': None, 'feature_matching_opt': None},
            '2 optimisers, but the options need 1: .*gan_opt was removed',
        ),
        ({'optim_g': {'type': 'RMSprop', 'lr': 1e-3}}, 'optim_g: RMSprop .* needs square_avg'),
        ({'optim_d': {'type': 'Adam', 'lr': 1e-3, 'amsgrad': True}}, 'optim_d: Adam .* needs max_exp_avg_sq'),
        ({'lr_factors': {'blocks.2': 0.1}}, 'lr_factors: .* groups the parameters differently from'),
        ({'lr_factors': {'blocks.1': 0}}, 'lr_factors: .* groups the parameters differently from'),
    ],
)
def test_options_that_do_not_fit_the_resumed_state_are_refused(changes, message, options):
    options['train']['lr_factors'] = {'blocks.1': 0.1}
    train(built(options), range(1, 2)).save(0, 1)
    options['train'] |= changes
    resumed = built(options)
    with pytest.raises(ValueError, match=f'{message}.*start over from its weights'):
        resumed.resume_training(torch.load(f'{options["path"]["training_states"]}/1.state'))


def test_lr_factors_of_the_same_parts_may_change(options):
    options['train']['lr_factors'] = {'blocks.1': 0.1}
    train(built(options), range(1, 2)).save(0, 1)
    options['train']['lr_factors'] = {'blocks.1': 0.5}
    resumed = built(options)
    resumed.resume_training(torch.load(f'{options["path"]["training_states"]}/1.state'))
    assert sorted(group['lr'] for group in resumed.optimizer_g.param_groups) == pytest.approx([5e-4, 1e-3])


def test_the_end_of_a_training_writes_a_checkpoint(options):
    model = train(built(options), range(1, 4))
    model.save(0, 2)
    model.save(-1, -1)
    states = Path(options['path']['training_states'])
    assert torch.load(states / '3.state')['iter'] == 3
    last, latest = (torch.load(Path(options['path']['models']) / f'net_g_{label}.pth') for label in (3, 'latest'))
    assert all(torch.equal(last['params_ema'][key], value) for key, value in latest['params_ema'].items())
    written = (states / '3.state').stat().st_mtime_ns
    resumed = built(options)
    resumed.resume_training(torch.load(states / '3.state'))
    resumed.save(-1, -1)  # the training was already complete
    assert (states / '3.state').stat().st_mtime_ns == written


def test_the_last_checkpoint_has_the_epoch_of_the_last_iteration(options, monkeypatch):
    monkeypatch.setattr(epoch, '_current', 1)
    model = train(built(options), range(1, 3))
    epoch.begin_epoch(2)  # as the host does after the last iteration
    model.save(-1, -1)
    states = Path(options['path']['training_states'])
    assert torch.load(states / '2.state')['epoch'] == 1
    resumed = built(options)
    resumed.resume_training(torch.load(states / '2.state'))
    assert (resumed.epoch, resumed.iteration) == (1, 2)


@pytest.mark.parametrize(
    ('scheduler', 'message'),
    [
        ({'type': 'StepLR'}, "scheduler: there is no 'StepLR'. Did you mean 'MultiStepLR'"),
        (
            {'type': 'MultiStepLR', 'milestone': [5]},
            "scheduler: MultiStepLR has no option 'milestone'. Did you mean 'milestones'",
        ),
        ({'type': 'CosineAnnealingRestartLR', 'periods': [4, 4]}, 'periods and restart_weights should have the same'),
        ({'type': 'CosineAnnealingRestartLR', 'periods': [8]}, r'\[8\] end after 8 iterations, but total_iter is 10'),
    ],
)
def test_invalid_schedules_are_refused(scheduler, message, options):
    options['train'] |= {'scheduler': scheduler, 'total_iter': 10}
    with pytest.raises(ValueError, match=message):
        build_model(options)


def test_checkpoints_contain_the_options_of_the_network(options):
    built(options).save(0, -1)
    content = torch.load(Path(options['path']['models']) / 'net_g_latest.pth')
    assert content['network_g'] == options['network_g']
    assert set(content) == {'params', 'params_ema', 'network_g', 'plugin_version'}


def test_options_can_be_inferred_from_the_weights(options):
    options['network_g'] |= {'norm': 'rms', 'global_residual': True}
    built(options).save(0, -1)
    content = torch.load(Path(options['path']['models']) / 'net_g_latest.pth')
    for key in ('params', 'params_ema'):
        assert read_generator_options(content[key]) == {
            'num_in_ch': 3, 'num_feat': 4, 'variant': 'csr', 'preset': 'paper', 'norm': 'rms',
            'global_residual': True,
        }  # fmt: skip


def test_a_full_disk_keeps_the_old_checkpoint_and_does_not_stop_the_training(options, monkeypatch, caplog):
    model = built(options)
    model.save(0, 1)

    def fail(content, path):
        Path(path).write_bytes(b'half')
        raise RuntimeError('[enforce fail at inline_container.cc] . PytorchStreamWriter failed writing file')

    monkeypatch.setattr(torch, 'save', fail)
    with caplog.at_level(logging.ERROR):
        model.save(0, 2)
    assert 'No checkpoint at iteration 2: cannot write' in caplog.text
    files = sorted(
        path.name for folder in ('models', 'training_states') for path in Path(options['path'][folder]).iterdir()
    )
    assert files == ['1.state', 'net_d_1.pth', 'net_g_1.pth']
    with pytest.raises(OSError, match='The last weights cannot be written'):  # at the end of the training
        model.save(-1, -1)
    model.stop_signal.number = signal.SIGTERM
    with pytest.raises(SystemExit, match='1'):
        model.save_and_exit(3)
    monkeypatch.undo()
    with pytest.raises(SystemExit, match='0'):
        model.save_and_exit(3)


def test_weights_of_another_width_are_refused(options, tmp_path):
    wide = copy.deepcopy(options)
    wide['network_g']['num_feat'] = 6
    built(wide).save(0, 7)
    options['path']['pretrain_network_g'] = f'{options["path"]["models"]}/net_g_7.pth'
    with pytest.raises(RuntimeError, match=r'(?s)net_g_7\.pth.*They look like num_feat: 6'):
        build_model(options)


def test_an_invalid_weights_file_is_refused(options, tmp_path):
    options['path']['pretrain_network_g'] = str(tmp_path / 'weights.pth')
    (tmp_path / 'weights.pth').write_bytes(b'no weights')
    with pytest.raises(WeightsError, match=r'weights\.pth: damaged or not a weights file'):
        build_model(options)


def test_missing_vgg_weights_are_reported_with_a_fix(options, monkeypatch):
    def offline(*_, **__):
        raise URLError('no network')

    monkeypatch.setattr('basicsr.archs.vgg_arch.vgg.vgg19', offline)
    options['train']['perceptual_opt'] = {'type': 'PerceptualLoss', 'layer_weights': {'relu1_1': 1.0}}
    with pytest.raises(FileNotFoundError, match=r'vgg19-dcbb9e9d\.pth .* into .*checkpoints'):
        build_model(options)


def test_the_generator_stays_in_train_mode_if_an_image_cannot_be_restored(options):
    model = build_model({**options, 'train': {**options['train'], 'ema_decay': 0}})
    model.feed_data({'lq': torch.rand(1, 3, 20, 20)})
    with pytest.raises(ValueError, match='at least 64 x 64 pixels, got 20 x 20'):
        model.test()
    assert all(module.training for module in model.net_g.modules())


@pytest.mark.parametrize(('section', 'message'), [
    ({'network_g': {'type': 'CSRGenerator', 'num_fet': 4}},
     "network_g: CSRGenerator has no option 'num_fet'. Did you mean 'num_feat'?"),
    ({'network_d': {'type': 'MultiscalePatchDiscriminator', 'scales': 2}},
     "network_d: MultiscalePatchDiscriminator has no option 'scales'"),
    ({'network_g': {'type': 'CSRGenerator', 'variant': 'crs'}}, "CSRGenerator: variant: 'crs' is not one of csr"),
])  # fmt: skip
def test_invalid_network_options_are_reported(options, section, message):
    with pytest.raises(ValueError) as error:
        build_model({**options, **section})
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(('change', 'message'), [
    ({'pixel_opt': {'type': 'L1Los'}}, "train: pixel_opt: there is no 'L1Los'. Did you mean 'L1Loss'?"),
    ({'pixel_opt': {'type': 'L1Loss', 'loss_wieght': 1}},
     "train: pixel_opt: L1Loss has no option 'loss_wieght'. Did you mean 'loss_weight'?"),
    ({'optim_g': {'type': 'Adm', 'lr': 1e-3}}, "train: optim_g: there is no 'Adm'. Did you mean 'Adam'?"),
    ({'optim_d': {'type': 'Adam', 'lr': 1e-3, 'beta': 1}}, "train: optim_d: Adam has no option 'beta'."),
    ({'optim_g': {'type': 'Adam'}}, 'train: optim_g: lr is missing.'),
    ({'optim_g': {'type': 'Adam', 'lr': 'fast'}}, 'train: optim_g: Adam: '),
    ({'optim_d': {'type': 'Adam', 'lr': -1}}, 'train: optim_d: Adam: Invalid learning rate: -1'),
    ({'pixel_opt': {'type': 'L1Loss', 'reduction': 'max'}}, 'train: pixel_opt: Unsupported reduction mode: max'),
    ({'gan_opt': {'type': 'MultiScaleGANLoss', 'gan_type': 'x'}}, 'train: gan_opt: GAN type x is not implemented'),
    ({'feature_matching_opt': {'type': 'FeatureMatchingLoss', 'criterion': 'l3'}},
     "train: feature_matching_opt: criterion: 'l3' is not one of l1, l2."),
    ({'lr_factors': dict.fromkeys(('suppression', 'start', 'blocks', 'to_picture'), 0)},
     'train: lr_factors freezes the whole generator'),
    ({'lr_factors': {'blocks': -1}}, 'train: lr_factors: give numbers from 0 up by name'),
    ({'gan_opt': None, 'feature_matching_opt': None, 'net_d_init_iters': 5},
     'train: net_d_init_iters makes the generator wait for a discriminator: remove it'),
])  # fmt: skip
def test_invalid_losses_and_optimisers_are_reported(options, change, message):
    with pytest.raises(ValueError) as error:
        build_model({**options, 'train': {**options['train'], **change}})
    assert str(error.value).startswith(message)
