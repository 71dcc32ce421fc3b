"""Weights of other layouts load unconverted; what does not fit is named."""

import json
import logging

import pytest
import torch
from basicsr.archs.hifacegan_arch import HiFaceGAN, HiFaceGANDiscriminator

from hifacegan_plugin.archs import CSRGenerator, MultiscalePatchDiscriminator
from hifacegan_plugin.archs.published_layouts import read_generator_options, rename

PUBLISHED = {
    'csr_ngf64': {'num_in_ch': 3, 'num_feat': 64, 'variant': 'csr'},
    'lip_spade_ngf48': {'num_in_ch': 3, 'num_feat': 48, 'variant': 'lip_spade'},
    'spade_ngf64': {'num_in_ch': 3, 'num_feat': 64, 'variant': 'spade'},
}


@pytest.fixture
def layouts(reference_dir):
    return json.loads((reference_dir / 'published_state_dict_layouts.json').read_text())


def as_state_dict(layout):
    """Tensors of the shapes that a layout lists, without memory behind them."""
    return {key: torch.empty(shape, device='meta') for key, shape in layout.items()}


@pytest.mark.parametrize('name', PUBLISHED)
def test_published_generators_load_strictly(name, layouts):
    with torch.device('meta'):
        network = CSRGenerator(**PUBLISHED[name])
    network.load_state_dict(as_state_dict(layouts[name]), assign=True)


@pytest.mark.parametrize('name', PUBLISHED)
def test_options_are_read_off_published_weights(name, layouts):
    assert read_generator_options(as_state_dict(layouts[name])) == PUBLISHED[name] | {'preset': 'paper'}


def test_published_discriminator_loads_strictly(layouts):
    with torch.device('meta'):
        network = MultiscalePatchDiscriminator()
    network.load_state_dict(as_state_dict(layouts['discriminator_ndf64']), assign=True)


def test_the_hosts_weights_load_and_arrive_where_they_belong():
    host = HiFaceGAN(num_feat=4)
    ours = CSRGenerator(num_feat=4, variant='lip_spade')
    ours.load_state_dict(host.state_dict())
    loaded = ours.state_dict()
    for key, value in host.state_dict().items():
        if rename(key) in loaded:
            assert torch.equal(loaded[rename(key)], value), key
    host_d = HiFaceGANDiscriminator(num_feat=4)
    MultiscalePatchDiscriminator(num_feat=4).load_state_dict(host_d.state_dict())


def test_own_state_dict_survives_a_round_trip():
    network = CSRGenerator(num_feat=4)
    assert {key: rename(key) for key in network.state_dict()} == {key: key for key in network.state_dict()}


def test_what_is_dropped_is_logged_in_one_line(caplog):
    with caplog.at_level(logging.INFO):
        CSRGenerator(num_feat=4, variant='lip_spade').load_state_dict(HiFaceGAN(num_feat=4).state_dict())
    assert [record.message for record in caplog.records] == [
        'Weights: dropped 8 tensors that the network has no use for, such as start.weight.'
    ]


@pytest.mark.parametrize('other', [{'num_feat': 6}, {'variant': 'spade'}, {'variant': 'lip_spade'}])
def test_weights_of_another_network_are_refused_with_the_likely_options(other):
    theirs = CSRGenerator(**{'num_feat': 4, **other})
    with pytest.raises(RuntimeError) as error:
        CSRGenerator(num_feat=4).load_state_dict(theirs.state_dict())
    ((option, value),) = other.items()
    assert f'They look like {option}: {value}: set this under network_g' in str(error.value)


def test_missing_and_unknown_keys_are_named():
    network = CSRGenerator(num_feat=4)
    state_dict = network.state_dict()
    state_dict['extra.weight'] = state_dict.pop('to_picture.bias')
    with pytest.raises(RuntimeError, match=r'1 missing: to_picture\.bias\n  1 unknown: extra\.weight'):
        network.load_state_dict(state_dict)


def test_weights_of_no_generator_have_no_options():
    with pytest.raises(ValueError, match='no weights of a HiFaceGAN generator'):
        read_generator_options({'conv.weight': torch.zeros(3, 3, 3, 3)})
