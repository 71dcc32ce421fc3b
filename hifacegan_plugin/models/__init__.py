"""Model classes, which the host's training loop calls."""

from hifacegan_plugin.models.hifacegan_csr_model import HiFaceGANCSRModel

__all__ = ['HiFaceGANCSRModel']
