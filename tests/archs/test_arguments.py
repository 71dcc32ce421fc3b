"""Tests of invalid arguments of networks."""

import pytest

from hifacegan_plugin.archs import CSRGenerator, GuidedRestorer, MultiscalePatchDiscriminator, StyleGANRestorer


@pytest.mark.parametrize(
    ('network', 'options', 'message'),
    [
        (CSRGenerator, {'num_feat': 0}, 'CSRGenerator: num_feat: 0 is less than 1'),
        (CSRGenerator, {'num_in_ch': -1, 'preset': 'fast'}, 'CSRGenerator: num_in_ch: -1 is less than 1'),
        (MultiscalePatchDiscriminator, {'num_d': 0}, 'MultiscalePatchDiscriminator: num_d: 0 is less than 1'),
        (MultiscalePatchDiscriminator, {'n_layers_d': 0}, 'n_layers_d: 0 is less than 1'),
        (GuidedRestorer, {'num_feat': 0}, 'GuidedRestorer: num_feat: 0 is less than 1'),
        (StyleGANRestorer, {'num_style_feat': 0}, 'StyleGANRestorer: num_style_feat: 0 is less than 1'),
        (StyleGANRestorer, {'narrow': 1e-3}, 'narrow: 0.001: too few channels'),
    ],
)
def test_too_small_numbers_are_refused(network, options, message):
    with pytest.raises(ValueError, match=message):
        network(**options)
