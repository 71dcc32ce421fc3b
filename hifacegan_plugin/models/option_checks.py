"""Refusals of options that would fail later, or without saying which option it was."""

from __future__ import annotations

import difflib
import inspect
from typing import Any

from basicsr.utils.registry import ARCH_REGISTRY

from hifacegan_plugin.archs.discriminator_arch import MultiscalePatchDiscriminator
from hifacegan_plugin.data.degradations.registry import is_number
from hifacegan_plugin.images.channels import channels_of

# All that stands under ``train`` for HiFaceGANCSRModel; docs/training.md says what each does.
TRAIN_OPTIONS = (
    'total_iter', 'warmup_iter', 'optim_g', 'optim_d', 'scheduler', 'pixel_opt', 'perceptual_opt', 'gan_opt',
    'feature_matching_opt', 'net_d_iters', 'net_d_init_iters', 'ema_decay', 'amp', 'accumulate_iters',
    'gradient_checkpointing', 'compile', 'progressive', 'loss_weight_schedule', 'channels_last', 'grad_clip',
    'lr_factors', 'on_not_finite', 'keep_last', 'keep_best',
)


def choose(option: str, value: str, choices: dict[str, Any]) -> Any:
    """Give what an option under ``train`` stands for.

    Raises:
        ValueError: the value is none of the choices; names them.
    """
    if value not in choices:
        raise ValueError(f'train: {option}: {value!r} is not one of {", ".join(choices)}.')
    return choices[value]


def number(option: str, value: Any, at_least: float, kind: type = float) -> Any:
    """Give the number that an option under ``train`` is set to.

    Raises:
        ValueError: it is none of this kind (``int`` or ``float``), or too small.
    """
    if not (is_number(value) and isinstance(value, (int, kind)) and value >= at_least):
        what = 'a whole number' if kind is int else 'a number'
        raise ValueError(f'train: {option}: give {what} from {at_least} up, not {value!r}.')
    return value


def check_keep_best(opt: dict[str, Any]) -> None:
    """Refuse ``train: keep_best`` where no best checkpoint would be kept.

    Raises:
        ValueError: what it names is not measured, or is measured where nothing was saved.
    """
    best = opt['train'].get('keep_best')
    if not best:
        return
    metrics = (opt.get('val') or {}).get('metrics') or {}
    if best not in metrics:
        raise ValueError(
            f'train: keep_best: {best} is not measured: take one of val: metrics '
            f'({", ".join(metrics) or "there are none"}).'
        )
    measured, saved = opt['val']['val_freq'], opt['logger']['save_checkpoint_freq']
    if measured % saved:
        raise ValueError(
            f'train: keep_best: a checkpoint is kept for its figures if it is saved where they are measured: make val: '
            f'val_freq ({measured:g}) a multiple of logger: save_checkpoint_freq ({saved:g}).'
        )


def check_channels(opt: dict[str, Any]) -> None:
    """Refuse a discriminator for images of other channels than those of the generator.

    Raises:
        ValueError: names the options of ``network_d`` to set.
    """
    channels, network_d = channels_of(opt['network_g']), opt['network_d']
    if channels is None or network_d['type'] != MultiscalePatchDiscriminator.__name__:
        return
    taken = [network_d.get(key, 3) for key in ('num_in_ch', 'num_out_ch')]
    if sum(taken) != 2 * channels:
        raise ValueError(
            f'network_d judges pairs of {taken[0]} and {taken[1]} channels, but network_g takes and gives {channels}: '
            f'set network_d: num_in_ch: {channels} and num_out_ch: {channels}.'
        )


def check_network_options(section: str, options: dict[str, Any]) -> None:
    """Refuse options that the network's class does not take, before it raises a bare TypeError.

    Args:
        section: ``network_g`` or ``network_d``, for the message.
        options: the options of the network, with its ``type``.

    Raises:
        ValueError: an option is unknown; names it, the likely right one and all there are.
    """
    if options['type'] not in ARCH_REGISTRY:
        return  # the host's registry names what is missing
    known = set(inspect.signature(ARCH_REGISTRY.get(options['type'])).parameters) | {'type'}
    for key in options:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            guess = f' Did you mean {near[0]}?' if near else ''
            raise ValueError(
                f'{section}: {options["type"]} has no option {key!r}.{guess} It takes: {", ".join(sorted(known))}.'
            )
