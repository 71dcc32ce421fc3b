"""HiFaceGAN for BasicSR: the paper's network, its training and its data."""

__version__ = '0.1.0'
