"""The generator under the name that it is registered by: the paper's network or the fast one."""

from __future__ import annotations

from abc import ABCMeta
from typing import Any

from hifacegan_plugin.archs.arguments import check_choice, check_counts
from hifacegan_plugin.archs.csr.fast import FastCSR
from hifacegan_plugin.archs.csr.network import NAME, CSRNetwork
from hifacegan_plugin.archs.csr.paper import PaperCSR
from hifacegan_plugin.archs.csr.shapes import SCALES


class CSRGenerator(CSRNetwork, metaclass=ABCMeta):
    """Restore images without being told what is wrong with them.

    Calling the class builds a :class:`~hifacegan_plugin.archs.csr.paper.PaperCSR` or a
    :class:`~hifacegan_plugin.archs.csr.fast.FastCSR`; both count as instances of it. Derive from one of these two to
    change a network: a class derived from this one is refused.

    Args:
        num_in_ch: channels of the image, in and out.
        num_feat: base width (paper: 64; 48 fits cards with 12 GB; 16 suits ``preset: fast`` on a CPU).
        variant: ``csr`` is the paper's network. ``lip_spade`` steers every block by the image and starts from the
            last suppression level (the published checkpoints, BasicSR's ``HiFaceGAN``). ``spade`` has no pyramid at
            all (Park et al., CVPR 2019). ``vae`` is ``spade`` that starts from a latent code of the image (Park et al.,
            section 3 and appendix A): drawn in training, the most likely one otherwise; train it with ``kl_opt``.
        norm: ``batch``, ``syncbatch`` (statistics of all processes), ``instance`` or ``rms`` (x / sqrt(mean of x^2 over
            the image + number of channels): what the reference computes under the name "instance").
        global_residual: predict a correction that is added to the input, instead of the image itself. Beyond the
            paper; decides at small budgets. Off by default, except in the fast network, which always does so.
        preset: ``paper``, or ``fast``: the network for small budgets (see :mod:`hifacegan_plugin.archs.csr.fast`),
            which has neither variants nor normalisation.
        init: initial weights. ``xavier``: normal with gain 0.02, and no biases (the paper's). ``reference``: the same,
            but PyTorch's default in the convolutions with spectral normalisation, 25 to 29 times larger, which the
            reference implementation leaves in them on a GPU. ``pytorch``: its default everywhere, as BasicSR's
            ``HiFaceGAN`` has it, which learns faster at small budgets (docs/peers.md).
        num_scales: of ``preset: fast``, 3 to 6: how many sizes of the image it looks at, each half of the one before.
            More scales see further, for blur and blocks that are wide; they add few operations but many parameters.

    Raises:
        ValueError: for an unknown ``variant``, ``norm``, ``preset``, ``init`` or ``num_scales``, numbers below 1, and
            options that the network of the preset does not have.
    """

    def __init_subclass__(cls) -> None:
        """Refuse to be derived from, since a call would build a network of another class.

        Raises:
            TypeError: always.
        """
        raise TypeError(
            f'{cls.__name__} cannot derive from {NAME}, which builds a PaperCSR or a FastCSR: derive from one of these '
            '(hifacegan_plugin.archs.csr.paper, hifacegan_plugin.archs.csr.fast).'
        )

    def __new__(
        cls,
        num_in_ch: int = 3,
        num_feat: int = 64,
        variant: str = 'csr',
        norm: str = 'batch',
        global_residual: bool | None = None,
        preset: str = 'paper',
        init: str = 'xavier',
        num_scales: int = SCALES[0],
    ) -> Any:
        """Build the network that ``preset`` names."""
        check_choice(NAME, 'preset', preset, (PaperCSR.preset, FastCSR.preset))
        check_counts(NAME, num_in_ch=num_in_ch, num_feat=num_feat)
        if preset == FastCSR.preset:
            if (variant, norm, init) != ('csr', 'batch', 'xavier'):
                raise ValueError(
                    f'{NAME}: preset: fast has no variants and no normalisation, and one initialisation: take variant, '
                    'norm and init out.'
                )
            if global_residual is False:
                raise ValueError(
                    f'{NAME}: preset: fast always predicts a correction of its input: take global_residual: false out.'
                )
            return FastCSR(num_in_ch, num_feat, num_scales)
        if num_scales != SCALES[0]:
            raise ValueError(f'{NAME}: num_scales is for preset: fast: set preset, or take num_scales out.')
        return PaperCSR(num_in_ch, num_feat, variant, norm, bool(global_residual), init)


CSRGenerator.register(PaperCSR)
CSRGenerator.register(FastCSR)
