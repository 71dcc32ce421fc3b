"""Tests of the options under ``train``."""

import copy
import logging
import math
from pathlib import Path

import pytest
import torch
from basicsr.models import build_model
from small_training import OPTIONS, batch, built, train

from hifacegan_plugin.models import divergence


def gradients(model) -> dict[str, torch.Tensor]:
    return {name: parameter.grad.clone() for name, parameter in model.net_g.named_parameters()}


def after_one_iteration(options, **train_options):
    """Return a model after one iteration with additional options, from the same initial weights."""
    opt = copy.deepcopy(options)
    opt['train'].update(train_options)
    return train(built(opt), range(1, 2))


@pytest.mark.parametrize('option', ['gradient_checkpointing', 'channels_last'])
def test_options_that_do_not_change_the_update(options, option):
    options['network_g']['norm'] = 'batch'
    plain, other = after_one_iteration(options), after_one_iteration(options, **{option: True})
    assert other.get_current_log() == pytest.approx(plain.get_current_log(), rel=1e-4)
    for name, gradient in gradients(plain).items():
        torch.testing.assert_close(gradients(other)[name], gradient, atol=1e-6, rtol=1e-3)
    for name, value in plain.net_g.state_dict().items():
        if name.endswith(('._u', '._v')):  # the second pass of checkpointing must not update the spectral norm again
            torch.testing.assert_close(other.net_g.state_dict()[name], value, atol=1e-4, rtol=1e-4)
    assert all(module.training for module in other.net_g.modules())  # so that the next iteration updates it


@pytest.fixture
def quick_compiler(monkeypatch):
    """Make networks compile with a backend that only traces them, because the C++ compiler takes minutes."""

    def compile_quickly(network: torch.nn.Module) -> None:
        network._compiled_call_impl = torch.compile(network._call_impl, backend='aot_eager')

    monkeypatch.setattr(torch.nn.Module, 'compile', compile_quickly)


def test_a_compiled_generator_gives_the_same_update_and_checkpoint(options, quick_compiler):
    options['network_g']['norm'] = 'batch'
    plain, compiled = after_one_iteration(options), after_one_iteration(options, compile=True)
    assert compiled.net_g._compiled_call_impl
    assert compiled.get_current_log() == pytest.approx(plain.get_current_log(), rel=1e-4)
    for name, gradient in gradients(plain).items():
        torch.testing.assert_close(gradients(compiled)[name], gradient, atol=1e-6, rtol=1e-3)
    for network in ('net_g', 'net_g_ema'):
        expected = getattr(plain, network).state_dict()
        state = getattr(compiled, network).state_dict()
        assert list(state) == list(expected)
        for name, value in expected.items():
            if name.endswith(('._u', '._v')):
                torch.testing.assert_close(state[name], value, atol=1e-4, rtol=1e-4)


@pytest.mark.heavy
@pytest.mark.parametrize('preset', ['paper', 'fast'])
def test_the_default_compiler_gives_the_same_update(options, preset):
    options['network_g']['preset'] = preset
    plain, compiled = after_one_iteration(options), after_one_iteration(options, compile=True)
    assert compiled.get_current_log() == pytest.approx(plain.get_current_log(), rel=1e-3)


def test_gradient_checkpointing_saves_memory(options):
    def kept_for_backward(checkpointing: bool) -> int:
        sizes = []

        def pack(tensor):
            sizes.append(tensor.numel())
            return tensor

        network = built(options).net_g
        network.gradient_checkpointing = checkpointing
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            network(batch(0)['lq'])
        return sum(sizes)

    assert kept_for_backward(True) < 0.6 * kept_for_backward(False)


def test_accumulated_gradients_equal_those_of_the_whole_batch(options):
    options['network_g']['norm'] = 'instance'  # so that results do not depend on other images of the batch
    options['train']['ema_decay'] = 0
    whole = train(built(options), range(1, 2))
    options['train']['accumulate_iters'] = 2
    halves = built(options)
    before = halves.net_g.to_picture.weight.clone()
    for iteration in (1, 2):
        halves.feed_data({name: images[iteration - 1 : iteration] for name, images in batch(1).items()})
        halves.optimize_parameters(iteration)
        assert torch.equal(before, halves.net_g.to_picture.weight) == (iteration == 1)
    # Every pass updates the spectral norm, so the second half uses slightly different weights.
    for name, gradient in gradients(whole).items():
        tolerance = max(1e-3 * gradient.abs().max().item(), 1e-9)
        torch.testing.assert_close(gradients(halves)[name], gradient, atol=tolerance, rtol=0.02)


def test_bf16_follows_fp32(options):
    exact, rounded = after_one_iteration(options), after_one_iteration(options, amp='bf16')
    for name, value in exact.get_current_log().items():
        assert rounded.get_current_log()[name] == pytest.approx(value, rel=0.03), name
    assert all(parameter.dtype is torch.float32 for parameter in rounded.net_g.parameters())


def test_fp16_scales_its_gradients_and_keeps_the_scale_in_checkpoints(options):
    options['train']['amp'] = 'fp16'
    model = built(options)
    model.scaler = torch.amp.GradScaler('cpu', init_scale=8.0)
    train(model, range(1, 3))
    model.save(0, 2)
    assert torch.load(Path(options['path']['training_states']) / '2.state')['scaler']['scale'] == 8.0
    plain = after_one_iteration(OPTIONS | {'path': options['path']})
    scaled = built(options)
    scaled.scaler = torch.amp.GradScaler('cpu', init_scale=8.0)
    train(scaled, range(1, 2))
    expected = gradients(plain)['to_picture.bias']
    torch.testing.assert_close(gradients(scaled)['to_picture.bias'], expected, atol=0.01, rtol=0.05)


def test_grad_clip_limits_the_norm_of_gradients(options):
    model = after_one_iteration(options, grad_clip=1e-3)
    for network in (model.net_g, model.net_d):
        norm = torch.stack([parameter.grad.norm() for parameter in network.parameters()]).norm()
        assert norm.item() == pytest.approx(1e-3, rel=1e-3)


def test_loss_weights_follow_their_schedule(options):
    plain, scheduled = built(options), copy.deepcopy(options)
    scheduled['train']['loss_weight_schedule'] = {'gan_opt': [[1, 0], [5, 2]], 'pixel_opt': [[3, 1], [4, 0]]}
    scheduled = built(scheduled)
    for iteration, gan, pixel in ((1, 0, 1), (2, 0.5, 1), (3, 1, 1), (5, 2, 0), (9, 2, 0)):
        logs = []
        for model in (copy.deepcopy(plain), copy.deepcopy(scheduled)):  # always from the same weights
            model.feed_data(batch(0))
            model.optimize_parameters(iteration)
            logs.append(model.get_current_log())
        expected = {**logs[0], 'l_g_gan': gan * logs[0]['l_g_gan'], 'l_g_pix': pixel * logs[0]['l_g_pix']}
        assert logs[1] == pytest.approx(expected, rel=1e-5), iteration


def test_a_scheduled_weight_scales_the_gradient(options):
    for name in ('gan_opt', 'feature_matching_opt'):
        del options['train'][name]
    plain = gradients(after_one_iteration(options))
    halved = gradients(after_one_iteration(options, loss_weight_schedule={'pixel_opt': [[0, 0], [2, 1]]}))
    for name, gradient in plain.items():
        torch.testing.assert_close(halved[name], gradient / 2)


def test_lr_factors_scale_learning_rates_and_freeze_parts(options):
    options['train']['lr_factors'] = {'suppression': 0, 'suppression.levels.2': 1, 'blocks': 0.1, 'blocks.6': 1}
    model = built(options)
    before = copy.deepcopy(model.net_g.state_dict())
    train(model, range(1, 3))
    moved = {name for name, p in model.net_g.named_parameters() if not torch.equal(before[name], p)}
    assert {name.partition('.')[0] for name in moved} == {'suppression', 'blocks', 'start', 'to_picture'}
    assert all(name.startswith('suppression.levels.2.') for name in moved if name.startswith('suppression.'))
    rates = {id(p): group['lr'] for group in model.optimizer_g.param_groups for p in group['params']}
    for part, rate in (('blocks.0', 1e-4), ('blocks.6', 1e-3), ('start', 1e-3)):
        assert {rates[id(p)] for p in model.net_g.get_submodule(part).parameters()} == {rate}


def test_without_lr_factors_there_is_one_parameter_group(options):
    options['train']['lr_factors'] = None  # YAML's `~`, or no value
    (group,) = built(options).optimizer_g.param_groups
    assert group['lr'] == options['train']['optim_g']['lr']


def test_an_unknown_part_in_lr_factors_is_reported(options):
    options['train']['lr_factors'] = {'encoder': 0}
    with pytest.raises(ValueError, match=r"no part 'encoder'. It has: blocks, start, suppression, to_picture"):
        built(options)


def test_a_partial_load_loads_fitting_weights_and_logs_others(options, caplog):
    other = copy.deepcopy(options)
    other['network_g']['variant'] = 'spade'
    donor = built(other, seed=1)
    donor.save(0, 1)
    options['path'].update(pretrain_network_g=f'{options["path"]["models"]}/net_g_1.pth', strict_load_g=False)
    with caplog.at_level(logging.INFO, 'basicsr'):
        model = built(options)
    assert torch.equal(model.net_g.to_picture.weight, donor.net_g.to_picture.weight)
    assert 'tensors of the network come from the file' in caplog.text
    assert 'tensors new: ' in caplog.text
    options['path']['pretrain_network_g'] = f'{options["path"]["models"]}/net_d_1.pth'
    with pytest.raises(RuntimeError, match=r'net_d_1\.pth: none of these weights fits PaperCSR'):
        built(options)


@pytest.mark.parametrize('reaction', ['stop', 'skip'])
def test_a_batch_with_a_loss_that_is_not_finite_is_written_to_a_file(options, reaction, tmp_path):
    options['train']['on_not_finite'] = reaction
    model = train(built(options), range(1, 2))
    before = copy.deepcopy(model.net_g.state_dict())
    poisoned = batch(2)
    poisoned['gt'][0, 0, 0, 0] = float('nan')
    model.feed_data({**poisoned, 'lq_path': ['good.png', 'bad.png']})
    if reaction == 'stop':
        with pytest.raises(FloatingPointError, match='Iteration 2: a loss is not finite'):
            model.optimize_parameters(2)
    else:
        model.optimize_parameters(2)
    assert all(torch.equal(before[name], p) for name, p in model.net_g.named_parameters())
    aside = torch.load(tmp_path / 'not_finite/2_rank0.pth')
    assert aside['paths'] == ['good.png', 'bad.png']
    assert aside['gt'].isnan().sum() == 1
    train(model, range(3, 4))
    assert all(p.isfinite().all() for p in model.net_g.parameters())


def test_limits_of_skipped_and_written_batches(options, tmp_path, monkeypatch):
    monkeypatch.setattr(divergence, 'DIVERGED_AFTER', 3)
    monkeypatch.setattr(divergence, 'MAX_WRITTEN_BATCHES', 4)
    options['train']['on_not_finite'] = 'skip'
    model = built(options)

    def iterate(iteration: int, value: float) -> None:
        model.feed_data({**batch(iteration), 'gt': torch.full((2, 3, 64, 64), value)})
        model.optimize_parameters(iteration)

    for iteration, value in enumerate([math.nan, math.nan, 0.5, math.nan, math.nan], start=1):
        iterate(iteration, value)
    message = r'Iteration 6: .* already has 4\. This happened 3 times in a row\. Continue from'
    with pytest.raises(FloatingPointError, match=message):
        iterate(6, math.nan)
    assert sorted(path.name for path in (tmp_path / 'not_finite').iterdir()) == [f'{i}_rank0.pth' for i in (1, 2, 4, 5)]


def test_keep_last_and_keep_best(options):
    options['train'].update(keep_last=2, keep_best='psnr')
    options['val'] = {'val_freq': 2, 'metrics': {'psnr': {'type': 'calculate_psnr', 'crop_border': 0}}}
    options['logger']['save_checkpoint_freq'] = 1
    model = built(options)
    model.best_figures.records = {'val': {'psnr': {'val': 30.0, 'iter': 2, 'better': 'higher'}}}
    for iteration in range(1, 7):
        model.save(0, iteration)
        assert (Path(options['path']['training_states']) / f'{iteration}.state').exists()
    left = sorted(path.name for path in Path(options['path']['training_states']).iterdir())
    assert left == ['2.state', '5.state', '6.state']
    networks = sorted(path.name for path in Path(options['path']['models']).iterdir())
    assert networks == sorted(f'net_{n}_{i}.pth' for n in 'gd' for i in (2, 5, 6))


@pytest.mark.parametrize(
    ('best', 'val_freq', 'message'),
    [
        ('psrn', 4, r'psrn is not measured: name one of the metrics under val: metrics \(psnr\)'),
        ('psnr', 5, r'make val: val_freq \(5\) a multiple of logger: save_checkpoint_freq \(2\)'),
    ],
)
def test_invalid_keep_best_is_refused(options, best, val_freq, message):
    options['train']['keep_best'] = best
    options['val'] = {'val_freq': val_freq, 'metrics': {'psnr': {'type': 'calculate_psnr', 'crop_border': 0}}}
    options['logger']['save_checkpoint_freq'] = 2
    with pytest.raises(ValueError, match=f'train: keep_best: .*{message}'):
        build_model(options)


def test_null_sections_are_ignored(options):
    options.update(val=None, network_d=None)
    with pytest.raises(ValueError, match='gan_opt needs a discriminator: add network_d'):
        build_model(options)
    for name in ('gan_opt', 'feature_matching_opt'):
        del options['train'][name]
    train(built(options), range(1, 2))


@pytest.mark.parametrize('others', [{}, {'grad_clip': 1.0}, {'amp': 'bf16'}], ids=str)
def test_reading_losses_late_does_not_change_the_training(others, options):
    """As on a GPU, the optimisers themselves skip a step if a loss is not finite."""
    options['train'] |= {'on_not_finite': 'skip', **others}
    weights, logs = [], []
    for reads_late in (False, True):
        model = built(options)
        model.losses.late = reads_late
        for iteration in range(1, 6):
            data = batch(iteration)
            if iteration == 3:
                data['gt'][0, 0, 0, 0] = float('nan')
            model.update_learning_rate(iteration)
            model.feed_data(data)
            model.optimize_parameters(iteration)
        logs.append(model.get_current_log())
        weights.append({**model.net_g.state_dict(), **model.net_d.state_dict()})
        aside = Path(options['path']['training_states']).parent / 'not_finite/3_rank0.pth'
        assert torch.load(aside)['gt'].isnan().sum() == 1
        aside.unlink()
    assert logs[0] == pytest.approx(logs[1], rel=1e-6)
    for key, value in weights[0].items():
        torch.testing.assert_close(weights[1][key], value, atol=1e-7, rtol=0)


def test_no_checkpoint_is_written_after_losses_that_are_not_finite(options):
    model = built(options)
    model.losses.late = True
    data = batch(1)
    data['gt'][0, 0, 0, 0] = float('nan')
    model.feed_data(data)
    model.optimize_parameters(1)
    with pytest.raises(FloatingPointError, match='Iteration 1: a loss is not finite'):
        model.save(0, 1)
