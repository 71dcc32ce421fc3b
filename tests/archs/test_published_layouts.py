"""Tests of loading weights of other layouts without conversion."""

import json
import logging
import re

import pytest
import torch
from basicsr.archs.hifacegan_arch import HiFaceGAN, HiFaceGANDiscriminator

from hifacegan_plugin.archs import CSRGenerator, MultiscalePatchDiscriminator
from hifacegan_plugin.archs.csr.shapes import read_generator_options
from hifacegan_plugin.archs.published_layouts import rename, without_markers
from hifacegan_plugin.weights import build_generator

PUBLISHED = {
    'csr_ngf64': {'num_in_ch': 3, 'num_feat': 64, 'variant': 'csr'},
    'lip_spade_ngf48': {'num_in_ch': 3, 'num_feat': 48, 'variant': 'lip_spade'},
    'spade_ngf64': {'num_in_ch': 3, 'num_feat': 64, 'variant': 'spade'},
}


@pytest.fixture
def layouts(reference_dir):
    return json.loads((reference_dir / 'published_state_dict_layouts.json').read_text())


def as_state_dict(layout):
    """Return tensors with the shapes of a layout, without memory."""
    return {key: torch.empty(shape, device='meta') for key, shape in layout.items()}


@pytest.mark.parametrize('name', PUBLISHED)
def test_published_generators_can_be_loaded(name, layouts):
    with torch.device('meta'):
        network = CSRGenerator(**PUBLISHED[name])
    network.load_state_dict(as_state_dict(layouts[name]), assign=True)


@pytest.mark.parametrize('name', PUBLISHED)
def test_options_can_be_inferred_from_published_weights(name, layouts):
    assert read_generator_options(as_state_dict(layouts[name])) == PUBLISHED[name] | {'preset': 'paper'}


def test_published_discriminator_can_be_loaded(layouts):
    with torch.device('meta'):
        network = MultiscalePatchDiscriminator()
    network.load_state_dict(as_state_dict(layouts['discriminator_ndf64']), assign=True)


def test_the_hosts_weights_give_the_hosts_output():
    host = HiFaceGAN(num_feat=4)
    ours = CSRGenerator(num_feat=4, variant='lip_spade')
    ours.load_state_dict(host.state_dict())
    loaded = ours.state_dict()
    for key, value in host.state_dict().items():
        if rename(key) in loaded:
            assert torch.equal(loaded[rename(key)], value), key
    host_d = HiFaceGANDiscriminator(num_feat=4)
    MultiscalePatchDiscriminator(num_feat=4).load_state_dict(host_d.state_dict())


@pytest.mark.parametrize(('norm_g', 'norm'), [('instance', 'instance'), ('batch', None)])
def test_norm_can_be_inferred_from_the_hosts_weights(norm_g, norm):
    host = HiFaceGAN(num_feat=4, norm_g=f'spectralspade{norm_g}3x3').state_dict()
    assert read_generator_options(host).get('norm') == norm
    assert read_generator_options({f'module.{key}': value for key, value in host.items()}).get('norm') == norm


def in_the_references_layout(state_dict, statistics):
    """Return a state dict with the reference's names, including statistics of batch norm if there is one."""
    names = {
        r'^suppression\.head': 'encoder.head.0',
        r'^suppression\.levels\.(\d)\.pool\.logit_conv': r'encoder.encoder_\1.0.logit.0',
        r'^suppression\.levels\.(\d)\.pool\.logit_norm': r'encoder.encoder_\1.0.logit.1',
        r'^suppression\.levels\.(\d)\.conv': r'encoder.encoder_\1.1',
        r'^start': 'fc', r'^blocks\.0': 'head_0', r'^blocks\.1': 'G_middle_0', r'^blocks\.2': 'G_middle_1',
        r'^blocks\.3': 'ups.0', r'^blocks\.4': 'ups.1', r'^blocks\.5': 'ups.2', r'^blocks\.6': 'ups.3',
        r'^to_picture': 'to_rgbs.3', r'spade_([01s])\.shared': r'norm_\1.mlp_shared.0',
        r'spade_([01s])\.(gamma|beta)': r'norm_\1.mlp_\2', r'parametrizations\.weight\.original': 'weight_orig',
        r'parametrizations\.weight\.0\._([uv])': r'weight_\1',
    }  # fmt: skip
    theirs = {}
    for key, value in without_markers(state_dict).items():
        for ours, name in names.items():
            key = re.sub(ours, name, key)
        theirs[key] = value
        if statistics and key.endswith('.mlp_beta.weight'):
            theirs[key.replace('mlp_beta.weight', 'param_free_norm.running_mean')] = torch.zeros(len(value))
    return theirs


@pytest.mark.parametrize('norm', ['batch', 'rms'])
def test_norm_can_be_inferred_from_the_references_weights(lively_generator, caplog, norm):
    """The reference's "instance" norm, our ``rms``, has no buffers; with another norm, the output would differ."""
    network = lively_generator(norm=norm).eval()
    theirs = in_the_references_layout(network.state_dict(), statistics=norm == 'batch')
    assert read_generator_options(theirs).get('norm', 'batch') == norm
    generator = build_generator(theirs, {})
    images = torch.rand(1, 3, 64, 64)
    assert torch.equal(generator(images), network(images))
    assert not [record for record in caplog.records if record.levelname == 'WARNING']
    other = CSRGenerator(num_feat=4, norm='instance')
    other.load_state_dict(theirs)
    assert ('weights belong to a network with norm: rms, not instance' in caplog.text) == (norm == 'rms')


def test_own_state_dict_survives_a_round_trip():
    network = CSRGenerator(num_feat=4)
    assert {key: rename(key) for key in network.state_dict()} == {key: key for key in network.state_dict()}


def test_dropped_tensors_are_logged_in_one_line(caplog):
    with caplog.at_level(logging.INFO):
        network = CSRGenerator(num_feat=4, variant='lip_spade', norm='instance')
        network.load_state_dict(HiFaceGAN(num_feat=4).state_dict())
    assert [record.message for record in caplog.records] == [
        'Weights: dropped 8 tensors that the network does not need, such as start.weight.'
    ]


@pytest.mark.parametrize('other', [{'num_feat': 6}, {'variant': 'spade'}, {'variant': 'lip_spade'}])
def test_weights_of_another_network_are_refused_with_the_likely_options(other):
    theirs = CSRGenerator(**{'num_feat': 4, **other})
    with pytest.raises(RuntimeError) as error:
        CSRGenerator(num_feat=4).load_state_dict(theirs.state_dict())
    ((option, value),) = other.items()
    assert f'They look like {option}: {value}: set this under network_g' in str(error.value)


def test_missing_and_unknown_keys_are_reported():
    network = CSRGenerator(num_feat=4)
    state_dict = network.state_dict()
    state_dict['extra.weight'] = state_dict.pop('to_picture.bias')
    with pytest.raises(RuntimeError, match=r'1 missing: to_picture\.bias\n  1 unknown: extra\.weight'):
        network.load_state_dict(state_dict)


def test_no_options_can_be_inferred_from_other_weights():
    with pytest.raises(ValueError, match='not weights of a HiFaceGAN generator'):
        read_generator_options({'conv.weight': torch.zeros(3, 3, 3, 3)})
