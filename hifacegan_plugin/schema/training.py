"""The options under ``train``."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, ConfigDict, Field

from hifacegan_plugin.schema.problem import did_you_mean
from hifacegan_plugin.schema.section import Count, FromZero, NotNegative, Section, Share, Switch, Whole, option


class TypeAndArguments(Section):
    """A class of a registry, under ``type``, and its arguments beside it, which go by its signature."""

    model_config = ConfigDict(extra='allow')
    type: str = option('the name of the class', takes='the name of a class')


class HostTrain(Section):
    """What the host's training loop reads under ``train`` for any model."""

    model_config = ConfigDict(extra='allow')
    total_iter: Count = option('length of the training', unit='iterations')
    warmup_iter: Whole = option(
        'raises the learning rates linearly from 0 at first; -1 does without', -1, unit='iterations'
    )


def _rising(iterations: list[int]) -> list[int]:
    if any(later <= earlier for earlier, later in pairwise(iterations)):
        raise ValueError('they do not rise')
    return iterations


def _points(points: list[list[float]]) -> list[list[float]]:
    if any(later[0] <= earlier[0] for earlier, later in pairwise(points)):
        raise ValueError('the iterations do not rise')
    return points


Point = Annotated[list[float], Field(min_length=2, max_length=2)]
Points = Annotated[list[Point], Field(min_length=1), AfterValidator(_points)]
LOSSES = ('pixel_opt', 'perceptual_opt', 'gan_opt', 'feature_matching_opt', 'kl_opt', 'warping_opt', 'flow_opt')
SUPPORTING_LOSSES = ('feature_matching_opt', 'kl_opt', 'warping_opt', 'flow_opt')  # which no training can do with alone


class Train(HostTrain):
    """The options under ``train`` of ``HiFaceGANCSRModel``."""

    model_config = ConfigDict(extra='forbid')
    unknown_stops: ClassVar[bool] = False
    optim_g: TypeAndArguments = option(
        'optimiser of the generator: `{type: Adam, lr: !!float 1e-4, betas: [0.0, 0.9]}`; Adam and '
        'AdamW are fused unless `fused: false` is set'
    )
    optim_d: TypeAndArguments | None = option('optimiser of the discriminator; needed with `gan_opt`', None)
    scheduler: TypeAndArguments = option(
        "of the learning rates: the host's, or `{type: LinearDecayLR, start_iter: , end_iter: }`: full rate up to "
        '`start_iter`, then linearly down, to zero after `end_iter`'
    )
    pixel_opt: TypeAndArguments | None = option('pixel loss, such as `{type: L1Loss, loss_weight: 1.0}`', None)
    perceptual_opt: TypeAndArguments | None = option("perceptual loss, such as the host's `PerceptualLoss`", None)
    gan_opt: TypeAndArguments | None = option(
        'adversarial loss, such as `{type: MultiScaleGANLoss, gan_type: lsgan}`; needs `network_d`', None
    )
    feature_matching_opt: TypeAndArguments | None = option(
        '`{type: FeatureMatchingLoss, criterion: l1, loss_weight: 10}`; needs `gan_opt`, and a `network_d` that '
        'returns the outputs of all its layers, as `MultiscalePatchDiscriminator` does',
        None,
    )
    kl_opt: TypeAndArguments | None = option(
        'keeps the latent codes of `CSRGenerator`, `variant: vae`, close to a normal distribution: `{type: '
        'KLDivergenceLoss, loss_weight: 0.05}`',
        None,
    )
    warping_opt: TypeAndArguments | None = option(
        'compares the guide that `GuidedRestorer` warped with the ground truth, such as `{type: L1Loss}`', None
    )
    flow_opt: TypeAndArguments | None = option(
        'keeps the flow that `GuidedRestorer` warps by smooth: `{type: WeightedTVLoss, loss_weight: 0.1}`', None
    )
    net_d_iters: Count = option('updates the generator every so many iterations', 1, unit='iterations')
    net_d_init_iters: FromZero = option('trains the discriminator alone at first', 0, unit='iterations')
    ema_decay: Share = option(
        "averages the generator's weights; validated and saved as `params_ema`; 0 does without. The decay grows from "
        '2/11 to this value over the first iterations. Spectral norm follows the averaged weights',
        0,
    )
    amp: Literal['none', 'bf16', 'fp16'] | None = option(
        'precision of convolutions; weights, losses and optimisers stay in fp32. `fp16` scales its gradients, and the '
        'scale is saved',
        'none',
        takes='none, bf16 or fp16',
    )
    accumulate_iters: Count = option(
        'updates once in so many iterations with the mean of their gradients: a larger batch in the same memory. '
        'Learning rates go by iterations. Let checkpoints fall on multiples',
        1,
        unit='iterations',
    )
    gradient_checkpointing: Switch = option(
        "computes the insides of the generator's blocks twice: less memory, more time, the same update", False
    )
    compile: Switch = option(
        '`torch.compile` of the generator; checkpoints stay the same. Takes minutes before the first iteration. Not '
        'together with `gradient_checkpointing`',
        False,
    )
    progressive: Annotated[list[Count], Field(max_length=3), AfterValidator(_rising)] | None = option(
        '`[25000, 50000, 75000]`: the generator (only `CSRGenerator`) learns images of an eighth of the size up to '
        'iteration 25,000, then a quarter, half, and from 75,001 on the full size; one or two numbers start at half or '
        'a quarter. The ground truth is averaged to that size; validation enlarges what is restored. What a phase does '
        'not use is not trained in it, so that many processes work as ever',
        None,
        takes='the last iterations of one to three coarse phases in rising order, such as [25000, 50000, 75000]',
    )
    loss_weight_schedule: dict[str, Points] | None = option(
        '`{gan_opt: [[10000, 0], [20000, 1]]}`: factors of the weights of losses, on the line between two iterations, '
        'constant before and after; the logged losses have them',
        None,
        takes='points [iteration, factor] with rising iterations by the name of a loss, such as '
        '{gan_opt: [[10000, 0], [20000, 1]]}',
    )
    channels_last: Switch = option(
        'the memory layout that convolutions prefer on GPUs with `amp`; on the CPU measured it was slower '
        '(benchmarks/training.py)',
        False,
    )
    grad_clip: NotNegative = option("bounds the norm of each network's gradient; 0 does without", 0)
    lr_factors: dict[str, NotNegative] | None = option(
        'rates of parts of the generator: `{suppression: 0, blocks.6: 0.1}`; 0 freezes',
        None,
        takes='numbers from 0 up by name, as {blocks.6: 0.1}',
    )
    on_not_finite: Literal['stop', 'skip'] = option(
        'what to do about a NaN or infinite loss: `stop`, or `skip` the batch, up to 99 in a row; the first ten are '
        "written to `not_finite/` in the experiment's folder either way, with the names of their images",
        'stop',
    )
    keep_last: FromZero | None = option('keeps only so many checkpoints; 0 keeps all', 0)
    keep_best: str | None = option(
        'a name under `val: metrics`: its best checkpoint is kept besides; `val_freq` has to be a multiple of '
        '`save_checkpoint_freq`',
        None,
        takes='one name',
    )

    def conflicts(self) -> Iterator[str]:
        """See :class:`Section`."""
        losses = [name for name in LOSSES if getattr(self, name)]
        if not {*losses} - {*SUPPORTING_LOSSES}:
            yield 'set at least one of pixel_opt, perceptual_opt and gan_opt.'
        elif self.feature_matching_opt and not self.gan_opt:
            yield (
                'feature_matching_opt needs gan_opt, which trains the discriminator whose features are matched '
                '(gan_opt: loss_weight: 0 trains it without steering the generator by its judgement).'
            )
        for name in ('net_d_iters', 'net_d_init_iters'):
            if not self.gan_opt and getattr(self, name) != type(self).model_fields[name].default:
                yield f'{name} lets the generator wait for a discriminator: take it out, or add gan_opt.'
        if self.gan_opt and not self.optim_d:
            yield 'gan_opt trains a discriminator: add optim_d.'
        for name in self.loss_weight_schedule or {}:
            if name not in losses:
                yield (
                    f'loss_weight_schedule: {name} is no loss of this training{did_you_mean(name, losses)} There '
                    f'are: {", ".join(losses)}.'
                )
        if self.compile and self.gradient_checkpointing:
            yield 'compile and gradient_checkpointing do not work together: choose one.'
