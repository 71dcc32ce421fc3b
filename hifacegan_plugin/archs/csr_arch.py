"""The generator under its registered name: the paper's network or the fast one."""

from __future__ import annotations

from hifacegan_plugin.archs.arguments import check_choice, check_counts
from hifacegan_plugin.archs.csr.fast import FastCSR
from hifacegan_plugin.archs.csr.network import NAME, CSRNetwork
from hifacegan_plugin.archs.csr.paper import PaperCSR
from hifacegan_plugin.archs.csr.shapes import SCALES


def CSRGenerator(  # noqa: N802 (registered under its name, like a class)
    num_in_ch: int = 3,
    num_feat: int = 64,
    variant: str = 'csr',
    norm: str = 'batch',
    global_residual: bool | None = None,
    preset: str = 'paper',
    init: str = 'xavier',
    num_scales: int = SCALES[0],
) -> CSRNetwork:
    """Build a network that restores images with an unknown degradation.

    It is a :class:`~hifacegan_plugin.archs.csr.paper.PaperCSR` or a
    :class:`~hifacegan_plugin.archs.csr.fast.FastCSR`. To change a network, derive from one of these two classes.

    Args:
        num_in_ch: channels of the image, in and out.
        num_feat: base width (paper: 64; 48 fits GPUs with 12 GB; 16 suits ``preset: fast`` on a CPU).
        variant: ``csr`` is the paper's network. ``lip_spade`` starts from the last suppression level, and the image
            steers every block (the published checkpoints, BasicSR's ``HiFaceGAN``). ``spade`` has no pyramid (Park et
            al., CVPR 2019). ``vae`` is ``spade``, but starts from a latent code of the image (Park et al., section 3
            and appendix A). The code is drawn in training and is the mean otherwise; train it with ``kl_opt``.
        norm: ``batch``, ``syncbatch`` (statistics of all processes), ``instance`` or ``rms`` (x / sqrt(mean of x^2 over
            the image + number of channels), which the reference calls "instance").
        global_residual: predict a correction that is added to the input, instead of the image itself. Not in the
            paper; makes the difference at small budgets. Off by default; the fast network always does it.
        preset: ``paper``, or ``fast``: the network for small budgets (see :mod:`hifacegan_plugin.archs.csr.fast`),
            which has neither variants nor normalisation.
        init: initial weights. ``xavier`` (the paper): normal with gain 0.02, biases zero. ``reference``: the same,
            except for convolutions with spectral normalisation, which keep PyTorch's default, 25 to 29 times larger, as
            in the reference implementation on a GPU. ``pytorch``: PyTorch's default everywhere, as in BasicSR's
            ``HiFaceGAN``; learns faster at small budgets (docs/peers.md).
        num_scales: for ``preset: fast``, 3 to 6: number of scales, each half the size of the previous one. More scales
            have a larger receptive field, for wide blur and large blocks; they add few operations but many parameters.

    Raises:
        ValueError: for an unknown ``variant``, ``norm``, ``preset``, ``init`` or ``num_scales``, numbers below 1, and
            options that the network of the preset does not have.
    """
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
