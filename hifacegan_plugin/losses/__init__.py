"""Losses that the host lacks."""

from hifacegan_plugin.losses.feature_matching_loss import FeatureMatchingLoss, GANFeatLoss

__all__ = ['FeatureMatchingLoss', 'GANFeatLoss']
