"""Losses that BasicSR does not have."""

from hifacegan_plugin.losses.feature_matching_loss import FeatureMatchingLoss, GANFeatLoss
from hifacegan_plugin.losses.kl_divergence_loss import KLDivergenceLoss

__all__ = ['FeatureMatchingLoss', 'GANFeatLoss', 'KLDivergenceLoss']
