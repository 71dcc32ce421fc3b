"""The options under ``train``."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, ConfigDict, Field

from hifacegan_plugin.schema.problem import did_you_mean
from hifacegan_plugin.schema.section import Count, FromZero, NotNegative, Section, Share, Switch, Whole, option


class TypeAndArguments(Section):
    """The name of a registered class under ``type``, and its arguments."""

    model_config = ConfigDict(extra='allow')
    type: str = option('the name of the class', takes='the name of a class')


class HostTrain(Section):
    """The options under ``train`` that the host's training loop reads for any model."""

    model_config = ConfigDict(extra='allow')
    total_iter: Count = option('length of the training', unit='iterations')
    warmup_iter: Whole = option(
        'raises the learning rates linearly from 0 over this many iterations; -1 disables it', -1, unit='iterations'
    )


def _rising(iterations: list[int]) -> list[int]:
    if any(later <= earlier for earlier, later in pairwise(iterations)):
        raise ValueError('they do not increase')
    return iterations


def _points(points: list[list[float]]) -> list[list[float]]:
    if any(later[0] <= earlier[0] for earlier, later in pairwise(points)):
        raise ValueError('the iterations do not increase')
    return points


Point = Annotated[list[float], Field(min_length=2, max_length=2)]
Points = Annotated[list[Point], Field(min_length=1), AfterValidator(_points)]
LOSSES = ('pixel_opt', 'perceptual_opt', 'gan_opt', 'feature_matching_opt', 'kl_opt', 'warping_opt', 'flow_opt')
SUPPORTING_LOSSES = ('feature_matching_opt', 'kl_opt', 'warping_opt', 'flow_opt')  # only in addition to another loss


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
        "schedule of the learning rates: one of the host's, or `{type: LinearDecayLR, start_iter: , end_iter: }`, "
        'which keeps the full rate up to `start_iter` and then decays linearly to zero at `end_iter`'
    )
    pixel_opt: TypeAndArguments | None = option('pixel loss, such as `{type: L1Loss, loss_weight: 1.0}`', None)
    perceptual_opt: TypeAndArguments | None = option("perceptual loss, such as the host's `PerceptualLoss`", None)
    gan_opt: TypeAndArguments | None = option(
        'adversarial loss, such as `{type: MultiScaleGANLoss, gan_type: lsgan}`; needs `network_d`', None
    )
    feature_matching_opt: TypeAndArguments | None = option(
        'feature matching: `{type: FeatureMatchingLoss, criterion: l1, loss_weight: 10}`; needs `gan_opt`, and a '
        '`network_d` that returns the outputs of all its layers, such as `MultiscalePatchDiscriminator`',
        None,
    )
    kl_opt: TypeAndArguments | None = option(
        'keeps the latent codes of `CSRGenerator` with `variant: vae` close to a normal distribution: `{type: '
        'KLDivergenceLoss, loss_weight: 0.05}`',
        None,
    )
    warping_opt: TypeAndArguments | None = option(
        'compares the warped guide of `GuidedRestorer` with the ground truth, such as `{type: L1Loss}`', None
    )
    flow_opt: TypeAndArguments | None = option(
        'smooths the flow of `GuidedRestorer`: `{type: WeightedTVLoss, loss_weight: 0.1}`', None
    )
    net_d_iters: Count = option('interval between updates of the generator', 1, unit='iterations')
    net_d_init_iters: FromZero = option('at first, trains only the discriminator', 0, unit='iterations')
    ema_decay: Share = option(
        "decay of the exponential moving average of the generator's weights, which is validated and saved as "
        '`params_ema`; 0 disables it. The decay grows from 2/11 to this value over the first iterations. Spectral norm '
        'follows the averaged weights',
        0,
    )
    amp: Literal['none', 'bf16', 'fp16'] | None = option(
        'precision of convolutions; weights, losses and optimisers stay in fp32. With `fp16`, gradients are scaled, '
        'and checkpoints hold the scale',
        'none',
        takes='none, bf16 or fp16',
    )
    accumulate_iters: Count = option(
        'updates once in this many iterations, with the mean of their gradients: a larger batch in the same memory. '
        'Learning rate schedules count iterations. Set `save_checkpoint_freq` to a multiple of this',
        1,
        unit='iterations',
    )
    gradient_checkpointing: Switch = option(
        "recomputes the activations of the generator's blocks: less memory, more time, the same update", False
    )
    compile: Switch = option(
        'compiles the generator with `torch.compile`, which takes minutes before the first iteration. Checkpoints stay '
        'the same. Does not work with `gradient_checkpointing`',
        False,
    )
    progressive: Annotated[list[Count], Field(max_length=3), AfterValidator(_rising)] | None = option(
        'progressive training, only for `CSRGenerator`. With three numbers, the generator learns images of an eighth '
        'of the size up to the first, then a quarter, then half, then the full size. Two numbers start at a quarter, '
        'one at half. The ground truth is averaged to the size of the phase; validation enlarges the restored images. '
        'Weights that a phase does not use are frozen in it',
        None,
        takes='the last iterations of one to three coarse phases in increasing order, such as [25000, 50000, 75000]',
    )
    loss_weight_schedule: dict[str, Points] | None = option(
        'factors of loss weights by iteration, linear between two points, constant before and after. The logged losses '
        'include the factors',
        None,
        takes='points [iteration, factor] with increasing iterations by the name of a loss, such as '
        '{gan_opt: [[10000, 0], [20000, 1]]}',
    )
    channels_last: Switch = option(
        'memory layout: faster on GPUs with `amp`, slower on the measured CPU (benchmarks/training.py)',
        False,
    )
    grad_clip: NotNegative = option("largest norm of each network's gradient; 0 disables clipping", 0)
    lr_factors: dict[str, NotNegative] | None = option(
        'factors of the learning rates of parts of the generator; 0 freezes a part',
        None,
        takes='numbers from 0 up by name, such as {blocks.6: 0.1}',
    )
    on_not_finite: Literal['stop', 'skip'] = option(
        'what to do about a NaN or infinite loss: `stop`, or `skip` the batch, up to 99 in a row. In both cases, the '
        "first ten such batches are written to `not_finite/` in the experiment's folder, with the names of the images",
        'stop',
    )
    keep_last: FromZero | None = option('number of checkpoints to keep; 0 keeps all', 0)
    keep_best: str | None = option(
        'name of a metric under `val: metrics` whose best checkpoint is also kept; `val_freq` has to be a multiple of '
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
                '(with gan_opt: loss_weight: 0, its judgement does not affect the generator).'
            )
        for name in ('net_d_iters', 'net_d_init_iters'):
            if not self.gan_opt and getattr(self, name) != type(self).model_fields[name].default:
                yield f'{name} makes the generator wait for a discriminator: remove it, or add gan_opt.'
        if self.gan_opt and not self.optim_d:
            yield 'gan_opt trains a discriminator: add optim_d.'
        for name in self.loss_weight_schedule or {}:
            if name not in losses:
                yield (
                    f'loss_weight_schedule: {name} is not a loss of this training{did_you_mean(name, losses)} The '
                    f'losses are: {", ".join(losses)}.'
                )
        if self.compile and self.gradient_checkpointing:
            yield 'compile and gradient_checkpointing do not work together: choose one.'
