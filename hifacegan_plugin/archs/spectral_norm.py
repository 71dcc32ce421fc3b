"""Spectral norm (Miyato et al., ICLR 2018): that of PyTorch, but fast on the meta device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

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


def contexts_of_checkpointing(block: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """Return the contexts of the two passes of gradient checkpointing; only the first pass updates spectral norm."""
    return nullcontext(), _frozen(block)


@contextmanager
def _frozen(block: nn.Module) -> Iterator[None]:
    """Keep the spectral norms in a block as they are; it is in train() mode before and after."""
    norms = [module for module in block.modules() if isinstance(module, SpectralNorm)]
    for norm in norms:
        norm.eval()
    try:
        yield
    finally:  # torch stops the second pass early, by an exception
        for norm in norms:
            norm.train()
