"""Every shipped options file builds: data set, networks, losses and model, through the host's builders."""

import functools
import sys

import basicsr.archs.vgg_arch as vgg_arch
import pytest
import torch
from basicsr.archs import build_network
from basicsr.data import build_dataset
from basicsr.models import build_model
from basicsr.utils.options import parse_options, yaml_load
from conftest import REPOSITORY
from torchvision.models import vgg19

import hifacegan_plugin

FILES = sorted((REPOSITORY / 'options').rglob('*.yml'))
FILES = [file for file in FILES if not file.name.startswith('compare_')]  # no host options: see test_compare.py
PLUGIN_LINE = 'plugin: !!python/name:hifacegan_plugin.__version__'


@functools.cache
def untrained_vgg19(pretrained: bool):
    """What the perceptual loss is built on, without its weights, which are a download."""
    return vgg19(weights=None, init_weights=False)


@pytest.fixture
def host_options(monkeypatch, tmp_path):
    """Read an options file as the host's commands do."""

    def read(file):
        monkeypatch.setattr(sys, 'argv', ['train.py', '-opt', str(file)])
        opt, _ = parse_options(str(tmp_path), is_train='test' not in file.name)
        return opt

    return read


@pytest.mark.parametrize('file', FILES, ids=lambda file: f'{file.parent.name}-{file.stem}')
def test_the_plugin_line_comes_first(file, host_options):
    assert file.read_text().splitlines()[0].startswith(PLUGIN_LINE)
    assert host_options(file)['plugin'] == hifacegan_plugin.__version__


def test_networks_build_as_they_are_written(host_options):
    sections = [opt[name] for opt in map(host_options, FILES) for name in ('network_g', 'network_d') if name in opt]
    for section in {str(section): section for section in sections}.values():  # many files share a network
        with torch.device('meta' if 'num_feat' in section else 'cpu'):  # SwinIR computes while it is built
            build_network(section)


@pytest.mark.parametrize('file', FILES, ids=lambda file: f'{file.parent.name}-{file.stem}')
def test_model_builds_with_its_data_and_losses(file, host_options, small_lmdb, monkeypatch):
    opt = host_options(file)
    opt['num_gpu'] = 0
    monkeypatch.setattr(vgg_arch.vgg, 'vgg19', untrained_vgg19)
    items = []
    for dataset_opt in opt['datasets'].values():
        dataset_opt['dataroot_gt'] = str(small_lmdb)
        dataset_opt['gt_size'] = 64 if dataset_opt['phase'] == 'train' else None
        dataset = build_dataset(dataset_opt)
        items.append(dataset[0])
        assert items[-1]['lq'].dtype == (torch.uint8 if dataset.training else torch.float32)
    for section in ('network_g', 'network_d'):
        if 'num_feat' in opt.get(section, ()):
            opt[section]['num_feat'] = 4  # its full width is built above, without memory
    opt['path']['pretrain_network_g'] = None
    model = build_model(opt)
    assert hasattr(model, 'optimizer_g') == opt['is_train'] != opt['val']['save_img']  # a training would fill the disk
    for item in items:
        model.feed_data(torch.utils.data.default_collate([item]))
        assert model.lq.dtype == torch.float32 and model.lq.max() <= 1


@pytest.mark.parametrize('degradation', ['sr4x', 'mosaic16x', 'noise', 'blur', 'jpeg'])
def test_a_task_differs_in_its_degradation_alone(degradation):
    expected = yaml_load(str(REPOSITORY / 'options/hifacegan.yml'))
    expected['name'] = f'HiFaceGAN_{degradation}'
    for options in expected['datasets'].values():
        options['degradation'] = degradation
    assert yaml_load(str(REPOSITORY / f'options/hifacegan_{degradation}.yml')) == expected


ABLATIONS = {  # what each changes in options/hifacegan.yml; None: taken out
    'csr': {},
    'lip_spade': {('network_g', 'variant'): 'lip_spade'},
    'spade': {('network_g', 'variant'): 'spade'},
    'csr_no_perceptual': {('train', 'perceptual_opt'): None},
    'csr_no_feature_matching': {('train', 'feature_matching_opt'): None},
    'csr_no_adversarial': {('train', 'gan_opt', 'loss_weight'): 0},
}


def test_there_are_options_for_every_ablation():
    assert {file.stem for file in FILES if file.parent.name == 'ablations'} == set(ABLATIONS)


@pytest.mark.parametrize('name', ABLATIONS)
def test_an_ablation_changes_what_its_name_says(name):
    expected = yaml_load(str(REPOSITORY / 'options/hifacegan.yml'))
    expected['name'] = f'ablation_{name}'
    for (*sections, key), value in ABLATIONS[name].items():
        section = functools.reduce(dict.__getitem__, sections, expected)
        assert section[key] != value
        section[key] = value
        if value is None:
            del section[key]
    assert yaml_load(str(REPOSITORY / f'options/ablations/{name}.yml')) == expected


@pytest.mark.parametrize('name', [name for name in ABLATIONS if name.startswith('csr')])
def test_an_ablation_trains_without_what_it_leaves_out(name, host_options, monkeypatch):
    monkeypatch.setattr(vgg_arch.vgg, 'vgg19', untrained_vgg19)
    opt = host_options(REPOSITORY / f'options/ablations/{name}.yml')
    opt['num_gpu'] = 0
    for section in ('network_g', 'network_d'):
        opt[section]['num_feat'] = 4
    opt['network_g']['norm'] = 'batch'
    model = build_model(opt)
    model.feed_data({'lq': torch.rand(2, 3, 64, 64), 'gt': torch.rand(2, 3, 64, 64)})
    model.optimize_parameters(1)
    losses = model.get_current_log()
    generators = {'l_g_percep': 'perceptual', 'l_g_feat': 'feature_matching', 'l_g_gan': 'adversarial'}
    left_out = {loss for loss, part in generators.items() if name == f'csr_no_{part}'}
    assert {loss for loss in generators if losses.get(loss, 0) == 0} == left_out
    assert losses['l_d_real'] > 0 and losses['l_d_fake'] > 0


def test_the_hosts_own_hifacegan_options_build(monkeypatch):
    """The losses and networks of the host's options/train/HiFaceGAN/train_hifacegan.yml, which pip does not install."""
    monkeypatch.setattr(vgg_arch.vgg, 'vgg19', untrained_vgg19)
    adam = {'type': 'Adam', 'lr': 2e-4, 'weight_decay': 0, 'betas': [0.9, 0.999]}
    layers = {'relu1_1': 0.03125, 'relu2_1': 0.0625, 'relu3_1': 0.125, 'relu4_1': 0.25, 'relu5_1': 1.0}
    perceptual = {
        'type': 'PerceptualLoss', 'layer_weights': layers, 'vgg_type': 'vgg19', 'use_input_norm': False,
        'range_norm': False, 'perceptual_weight': 10.0, 'style_weight': 0, 'criterion': 'l1',
    }
    norm = 'spectralspadebatch3x3'
    model = build_model({
        'model_type': 'HiFaceGANModel', 'num_gpu': 0, 'is_train': True, 'dist': False, 'rank': 0,
        'network_g': {'type': 'HiFaceGAN', 'num_feat': 4, 'norm_g': norm, 'is_train': False, 'crop_size': 64},
        'network_d': {'type': 'HiFaceGANDiscriminator', 'num_feat': 4, 'norm_d': 'spectralinstance'},
        'path': {},
        'train': {
            'optim_g': dict(adam), 'optim_d': dict(adam), 'perceptual_opt': perceptual,
            'scheduler': {'type': 'MultiStepLR', 'milestones': [500], 'gamma': 0.5},
            'gan_opt': {'type': 'MultiScaleGANLoss', 'gan_type': 'lsgan', 'real_label_val': 1.0, 'fake_label_val': 0.0,
                        'loss_weight': 1.0},
            'feature_matching_opt': {'type': 'GANFeatLoss', 'loss_weight': 10.0, 'criterion': 'l1'},
        },
    })
    model.feed_data({'lq': torch.rand(1, 3, 64, 64), 'gt': torch.rand(1, 3, 64, 64)})
    model.optimize_parameters(1)
    assert model.get_current_log()['l_g_feat'] > 0
