"""Read and write weights files, and build the networks they belong to."""

from hifacegan_plugin.weights.files import WeightsError, read_card, read_weights, write_weights
from hifacegan_plugin.weights.generators import (
    Network,
    build_generator,
    generator_options,
    load_generator,
    load_network,
)
from hifacegan_plugin.weights.packaged import PACKAGED
from hifacegan_plugin.weights.recognised import RecognisedNetwork

__all__ = [
    'PACKAGED',
    'Network',
    'RecognisedNetwork',
    'WeightsError',
    'build_generator',
    'generator_options',
    'load_generator',
    'load_network',
    'read_card',
    'read_weights',
    'write_weights',
]
