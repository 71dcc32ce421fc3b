"""Spectral norm (Miyato et al., ICLR 2018): that of PyTorch, but fast on the meta device."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.utils.parametrizations import _SpectralNorm
from torch.nn.utils.parametrize import register_parametrization


class SpectralNorm(_SpectralNorm):
    """Divides a weight by its largest singular value.

    Without values, on the meta device, power iterations compute nothing. For a whole generator, they take seconds.
    """

    def _power_method(self, weight_mat: Tensor, n_power_iterations: int) -> None:
        if not weight_mat.is_meta:
            super()._power_method(weight_mat, n_power_iterations)


def apply_spectral_norm(conv: nn.Conv2d) -> None:
    """Divide the weight of a convolution by its largest singular value from now on."""
    register_parametrization(conv, 'weight', SpectralNorm(conv.weight))
