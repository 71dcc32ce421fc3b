"""Tests of checks of arguments against the signatures of registered classes and functions."""

import pytest

from hifacegan_plugin.models.lr_scheduler import LinearDecayLR
from hifacegan_plugin.schema.registered import problems_of_call, registered_names


def measure(img, border, *, scale=1):
    """A third-party metric."""


def take_anything(**options):
    """A function that accepts any options."""


KNOWN = {'measure': measure, 'take_anything': take_anything, 'LinearDecayLR': LinearDecayLR}


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'type': 'measure', 'border': 'any'}, None),
        ({'type': 'take_anything', 'x': 1}, None),
        ({'type': 'LinearDecayLR', 'start_iter': 10.0, 'end_iter': 20}, None),
        ({}, 'here: type is missing.'),
        (3, 'here: type is missing.'),
        ({'type': 'mesure'}, "here: there is no 'mesure'. Did you mean 'measure'?"),
        ({'type': 'measure'}, 'here: measure needs border.'),
        (
            {'type': 'measure', 'border': 0, 'scales': 2},
            "here: measure has no option 'scales'. Did you mean 'scale'? It takes: border, scale.",
        ),
        (
            {'type': 'LinearDecayLR', 'start_iter': 1, 'end_iter': 'last'},
            "here: end_iter: give a whole number, not 'last'.",
        ),
    ],
    ids=str,
)
def test_arguments_are_checked_against_the_signature(options, message):
    problems = problems_of_call('here', options, KNOWN, supplied=('img', 'optimizer'))
    assert [problem.what for problem in problems] == ([message] if message else [])


def test_the_hosts_suffix_may_be_omitted():
    names = registered_names([('Unet_basicsr', measure), ('Net', take_anything), ('Net_basicsr', measure)])
    assert names['Unet'] is names['Unet_basicsr'] is measure and names['Net'] is take_anything
