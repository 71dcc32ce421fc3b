"""Weights: reading files safely, in any published layout, and building their network."""

from hifacegan_plugin.weights.files import WeightsError, read_card, read_weights, write_weights
from hifacegan_plugin.weights.generators import build_generator, generator_options, load_generator
from hifacegan_plugin.weights.packaged import PACKAGED

__all__ = [
    'PACKAGED',
    'WeightsError',
    'build_generator',
    'generator_options',
    'load_generator',
    'read_card',
    'read_weights',
    'write_weights',
]
