"""Kullback-Leibler divergence, which keeps latent codes close to a standard normal distribution."""

from __future__ import annotations

from torch import Tensor, nn


class KLDivergenceLoss(nn.Module):
    """Kullback-Leibler divergence of a diagonal normal distribution from the standard normal distribution.

    ``-1/2 sum(1 + log sigma^2 - mu^2 - sigma^2)`` (Kingma and Welling, "Auto-Encoding Variational Bayes", ICLR 2014,
    appendix B), summed over the elements of a code, averaged over the batch, and multiplied by ``loss_weight``. SPADE
    (Park et al., CVPR 2019, section 3) uses it to train an image encoder together with the generator.

    Args:
        loss_weight: weight of the loss (SPADE, appendix A: 0.05).
    """

    def __init__(self, loss_weight: float = 0.05) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, mean: Tensor, log_variance: Tensor) -> Tensor:
        """Return the loss, a scalar, at least 0, for means and log-variances ``(N, length of a code)``."""
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1)
        return self.loss_weight * divergence.mean()
