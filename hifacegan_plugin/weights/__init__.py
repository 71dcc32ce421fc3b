"""Weights: reading files safely, in any published layout, and building their network."""

from hifacegan_plugin.weights.files import WeightsError, read_weights, write_weights
from hifacegan_plugin.weights.generators import PRETRAINED, build_generator, generator_options, load_generator

__all__ = [
    'PRETRAINED',
    'WeightsError',
    'build_generator',
    'generator_options',
    'load_generator',
    'read_weights',
    'write_weights',
]
