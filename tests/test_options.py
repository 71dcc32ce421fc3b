"""Tests that data sets, networks, losses and models of all shipped options files can be built."""

import functools
import shutil
import subprocess
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
from hifacegan_plugin.options_files.editing import edit, render

sys.path.insert(0, str(REPOSITORY / 'options'))

import make_options

OPTIONS = REPOSITORY / 'options'
FILES = sorted(OPTIONS.rglob('*.yml'))
FILES = [file for file in FILES if not file.name.startswith('compare_')]  # not for the host: see test_compare.py
BY_HAND = {'hifacegan_mild.yml'}
PLUGIN_LINE = 'plugin: !!python/name:hifacegan_plugin.__version__'


@functools.cache
def untrained_vgg19(pretrained: bool):
    """Return VGG19 for the perceptual loss without downloading its weights."""
    return vgg19(weights=None, init_weights=False)


@pytest.fixture
def host_options(monkeypatch, tmp_path):
    """A function that reads an options file like the host's commands."""

    def read(file):
        monkeypatch.setattr(sys, 'argv', ['train.py', '-opt', str(file)])
        opt, _ = parse_options(str(tmp_path), is_train='test' not in file.name)
        return opt

    return read


@pytest.mark.parametrize('file', FILES, ids=lambda file: f'{file.parent.name}-{file.stem}')
def test_the_plugin_line_comes_first(file, host_options):
    assert file.read_text().splitlines()[0].startswith(PLUGIN_LINE)
    assert host_options(file)['plugin'] == hifacegan_plugin.__version__


def test_networks_can_be_built(host_options):
    sections = [opt[name] for opt in map(host_options, FILES) for name in ('network_g', 'network_d') if name in opt]
    for section in {str(section): section for section in sections}.values():  # many files share a network
        with torch.device('meta' if 'num_feat' in section else 'cpu'):  # SwinIR computes while it is built
            build_network(section)


@pytest.mark.parametrize('file', FILES, ids=lambda file: f'{file.parent.name}-{file.stem}')
def test_model_data_and_losses_can_be_built(file, host_options, small_lmdb, monkeypatch):
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
            opt[section]['num_feat'] = 4  # test_networks_can_be_built builds the full width without memory
    opt['path']['pretrain_network_g'] = None
    model = build_model(opt)
    assert hasattr(model, 'optimizer_g') == opt['is_train'] != opt['val']['save_img']  # only tests save images
    for item in items:
        model.feed_data(torch.utils.data.default_collate([item]))
        assert model.lq.dtype == torch.float32 and model.lq.max() <= 1


@pytest.mark.parametrize('degradation', ['sr4x', 'mosaic16x', 'noise', 'blur', 'jpeg'])
def test_tasks_differ_only_in_their_degradation(degradation):
    expected = yaml_load(str(OPTIONS / 'hifacegan.yml'))
    expected['name'] = f'HiFaceGAN_{degradation}'
    for options in expected['datasets'].values():
        options['degradation'] = degradation
    assert yaml_load(str(OPTIONS / f'hifacegan_{degradation}.yml')) == expected


def test_generated_files_are_current():
    for file in make_options.FILES:
        assert (OPTIONS / file).read_text() == make_options.make(file), f'{file}: run `make options`'
    assert {str(file.relative_to(OPTIONS)) for file in FILES} - BY_HAND == set(make_options.FILES)


def changed(options, path, text):
    """Return the text of a file after a change."""
    return '\n'.join(render(edit(options, {path: text})))


@pytest.mark.parametrize(
    ('path', 'text', 'expected'),
    [
        ('a:x', '2', 'a:  # of a\n  x: 2\n\n  # of y\n  y: [1]\nb: ~'),
        ('a:x', '2  # two', 'a:  # of a\n  x: 2  # two\n\n  # of y\n  y: [1]\nb: ~'),
        ('a:x', '# one', 'a:  # of a\n  x: 1  # one\n\n  # of y\n  y: [1]\nb: ~'),
        ('a:x', '#', 'a:  # of a\n  x: 1\n\n  # of y\n  y: [1]\nb: ~'),
        ('a:x', None, 'a:  # of a\n  # of y\n  y: [1]\nb: ~'),
        ('a:z', '3', 'a:  # of a\n  x: 1  # of x\n\n  # of y\n  y: [1]\n  z: 3\nb: ~'),
        ('a', '# new\n    x: 4\n    # z: 5\n', 'a:  # new\n  x: 4\n  # z: 5\nb: ~'),
        ('a', None, 'b: ~'),
    ],
)
def test_changing_an_option_keeps_the_rest_of_the_file(path, text, expected):
    assert changed('a:  # of a\n  x: 1  # of x\n\n  # of y\n  y: [1]\nb: ~', path, text) == expected


@pytest.mark.parametrize(('path', 'text'), [('a:y', None), ('a:y', '# of y'), ('b:x', '1')])
def test_changing_a_missing_option_is_an_error(path, text):
    with pytest.raises(KeyError):
        changed('a:\n  x: 1', path, text)


@pytest.mark.parametrize('name', ['csr', 'csr_no_perceptual', 'csr_no_feature_matching', 'csr_no_adversarial'])
def test_ablations_train_without_the_removed_loss(name, host_options, monkeypatch):
    monkeypatch.setattr(vgg_arch.vgg, 'vgg19', untrained_vgg19)
    opt = host_options(OPTIONS / f'ablations/{name}.yml')
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


def test_the_hosts_hifacegan_options_can_be_built(monkeypatch):
    """Losses and networks of the host's options/train/HiFaceGAN/train_hifacegan.yml, which pip does not install."""
    monkeypatch.setattr(vgg_arch.vgg, 'vgg19', untrained_vgg19)
    adam = {'type': 'Adam', 'lr': 2e-4, 'weight_decay': 0, 'betas': [0.9, 0.999]}
    layers = {'relu1_1': 0.03125, 'relu2_1': 0.0625, 'relu3_1': 0.125, 'relu4_1': 0.25, 'relu5_1': 1.0}
    perceptual = {
        'type': 'PerceptualLoss',
        'layer_weights': layers,
        'vgg_type': 'vgg19',
        'use_input_norm': False,
        'range_norm': False,
        'perceptual_weight': 10.0,
        'style_weight': 0,
        'criterion': 'l1',
    }
    norm = 'spectralspadebatch3x3'
    model = build_model(
        {
            'model_type': 'HiFaceGANModel',
            'num_gpu': 0,
            'is_train': True,
            'dist': False,
            'rank': 0,
            'network_g': {'type': 'HiFaceGAN', 'num_feat': 4, 'norm_g': norm, 'is_train': False, 'crop_size': 64},
            'network_d': {'type': 'HiFaceGANDiscriminator', 'num_feat': 4, 'norm_d': 'spectralinstance'},
            'path': {},
            'train': {
                'optim_g': dict(adam),
                'optim_d': dict(adam),
                'perceptual_opt': perceptual,
                'scheduler': {'type': 'MultiStepLR', 'milestones': [500], 'gamma': 0.5},
                'gan_opt': {
                    'type': 'MultiScaleGANLoss',
                    'gan_type': 'lsgan',
                    'real_label_val': 1.0,
                    'fake_label_val': 0.0,
                    'loss_weight': 1.0,
                },
                'feature_matching_opt': {'type': 'GANFeatLoss', 'loss_weight': 10.0, 'criterion': 'l1'},
            },
        }
    )
    model.feed_data({'lq': torch.rand(1, 3, 64, 64), 'gt': torch.rand(1, 3, 64, 64)})
    model.optimize_parameters(1)
    assert model.get_current_log()['l_g_feat'] > 0


@pytest.mark.parametrize(('portraits', 'name'), [(False, 'hifacegan_demo'), (True, 'faces_demo')])
def test_the_demo_uses_portraits_if_they_exist(portraits, name, tmp_path):
    if portraits:
        (tmp_path / 'datasets/faces/test.lmdb').mkdir(parents=True)
    for file in ('Makefile', 'setup.py', 'constraints.txt'):
        shutil.copy(REPOSITORY / file, tmp_path)
    commands = subprocess.run(['make', '-n', 'demo'], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert [word for word in commands.split() if word.endswith('demo.yml')][:3] == [
        f'options/{name}.yml',
        f'options/test_{name}.yml',
        f'options/test_{name}.yml',
    ]
    assert ('There are no portraits' in commands) != portraits
