"""Whether the networks of a training or test take what its data sets return."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import torch

from hifacegan_plugin.archs.csr.network import NAME, CSRNetwork
from hifacegan_plugin.images.channels import channels_of
from hifacegan_plugin.schema.data import OURS as OUR_DATASET
from hifacegan_plugin.schema.file import OUR_DISCRIMINATOR, OUR_MODEL, parse_training
from hifacegan_plugin.schema.problem import Problem
from hifacegan_plugin.schema.registered import registered_names

Options = Mapping[str, Any]
# Data sets that return RGB images, and the value of their option `color` with which they return one channel.
ONE_CHANNEL = {'DegradationDataset': 'grey', 'PairedImageDataset': 'y', 'SingleImageDataset': 'y'}
INVALID = (TypeError, ValueError, RuntimeError)  # raised by networks with invalid arguments


def problems_of_networks(opt: Options) -> Iterator[Problem]:
    """Find networks of ``HiFaceGANCSRModel`` that cannot work on the images of the data sets.

    Data sets of other packages are not judged: they may return any number of channels.

    Args:
        opt: as returned by the host's ``parse_options``; the schema accepts it, and its classes exist.
    """
    if opt['model_type'] != OUR_MODEL:
        return
    for where, options in opt['datasets'].items():
        yield from _problems_of_channels(opt['network_g'], where, options)
    if opt['is_train'] and opt['train'].get('gan_opt'):
        yield from _problems_of_discriminator(opt)


def problems_of_generator(opt: Options) -> Iterator[Problem]:
    """Find wrong arguments of a ``CSRGenerator``, and a training and data sets that do not fit it.

    Data sets of other packages are not judged: their options may mean anything.

    Args:
        opt: see :func:`problems_of_networks`.
    """
    network = opt.get('network_g')
    if network is None or network['type'] != NAME:
        return
    try:
        generator = _on_meta(network)
    except INVALID as error:
        yield Problem(f'network_g: {_first_line(error)}', 'correct it')
        return
    if opt['is_train'] and opt['model_type'] == OUR_MODEL:
        yield from _problems_of_configuration(generator, opt)
    least = generator.smallest_side
    for where, options in opt['datasets'].items():
        if options['phase'] == 'train' and options['type'] in ONE_CHANNEL and options.get('scale', 1) != 1:
            yield Problem(
                f'scale is {options["scale"]}, but CSRGenerator returns images of the size of its input.',
                'set scale: 1; degraded images are then resized to full size',
            )
        known = shortest_side(options)
        if known and known[1] < least:
            yield Problem(
                f'datasets: {where}: {known[0]}: {known[1]} is too small: the network takes images from {least} x '
                f'{least} up.',
                f'set {known[0]}: {least} or more',
            )


def csr_generator(network: Options | None) -> CSRNetwork | None:
    """Build a ``CSRGenerator`` on the meta device; None for other networks and invalid arguments."""
    if network is not None and network['type'] == NAME:
        with suppress(*INVALID):  # reported by problems_of_generator
            return _on_meta(network)
    return None


def shortest_side(dataset: Options) -> tuple[str, int] | None:
    """Return the option that sets the shortest side of the images of a data set, and that side; None if none does."""
    size, resize = dataset.get('gt_size'), dataset.get('resize')
    if dataset['phase'] == 'train' and dataset['type'] in ONE_CHANNEL and isinstance(size, int):
        return 'gt_size', size
    if dataset['type'] == OUR_DATASET and resize is not None:
        return 'resize', min(resize) if isinstance(resize, list) else resize
    return None


def _problems_of_configuration(generator: CSRNetwork, opt: Options) -> Iterator[Problem]:
    """Find options under ``train`` that the generator does not support."""
    from hifacegan_plugin.models.generator import configure_generator

    try:
        with torch.device('meta'):
            configure_generator(generator, parse_training(opt))
    except ValueError as error:
        yield Problem(f'{error}', 'correct it')


def _problems_of_channels(network: Options, where: str, dataset: Options) -> Iterator[Problem]:
    """Compare the numbers of channels of a generator that has arguments for them with those of a data set."""
    channels = _channels_returned(network, dataset)
    if channels is None:
        return
    images = 'one channel' if channels == 1 else f'{channels} channels'
    compared = {'num_in_ch': 'degraded images', **({'num_out_ch': 'ground truth'} if 'dataroot_gt' in dataset else {})}
    for name, what in compared.items():
        count = _arguments(network).get(name, channels)
        if count != channels:
            yield Problem(
                f'network_g: {name}: {count}, but the {what} of datasets: {where} would have {images}.',
                f'set {name}: {channels}',
            )


def _channels_returned(network: Options, dataset: Options) -> int | None:
    """Return the number of channels that the images of a data set have for the generator; None if unknown.

    The model converts between grey and RGB if the options say which of them the generator takes.
    """
    if dataset['type'] not in ONE_CHANNEL:
        return None
    if (taken := channels_of(network)) in (1, 3):
        return taken
    return 1 if dataset.get('color') == ONE_CHANNEL[dataset['type']] else 3


def _problems_of_discriminator(opt: Options) -> Iterator[Problem]:
    """Let the discriminator judge a pair of crops on the meta device."""
    dataset, network = opt['datasets']['train'], opt['network_d']
    channels, gt_size = _channels_returned(opt['network_g'], dataset), dataset.get('gt_size')
    if channels is None or gt_size is None:
        return
    side = int(gt_size) >> len(opt['train'].get('progressive') or [])
    try:
        net_d = _on_meta(network)
    except INVALID as error:
        if not _needs_values(error):
            yield Problem(f'network_d: {_first_line(error)}', 'correct it')
        return
    try:
        net_d(torch.empty(2, 2 * channels, side, side, device='meta'))
    except (*INVALID, AssertionError) as error:
        if _needs_values(error):
            return
        described = ', '.join(f'{name}: {value}' for name, value in _arguments(network).items())
        yield Problem(
            f'datasets: train: gt_size: {gt_size}: network_d ({network["type"]}, {described}) cannot judge pairs of '
            f'{side} x {side} pixels and {2 * channels} channels: {_first_line(error).rstrip(".")}.',
            'raise gt_size, or lower num_d' if network['type'] == OUR_DISCRIMINATOR else 'change gt_size or network_d',
        )


def _on_meta(network: Options) -> Any:
    """Build a network on the meta device, which has shapes and no values.

    Raises:
        TypeError, ValueError, RuntimeError: an argument is invalid, or the network needs values.
    """
    with torch.device('meta'):
        return _networks()[network['type']](**_arguments(network))


def _needs_values(error: Exception) -> bool:
    return isinstance(error, NotImplementedError) or 'meta' in str(error)


def _first_line(error: Exception) -> str:
    return str(error).partition('\n')[0]  # torch may append a stack trace


def _networks() -> dict[str, Callable[..., Any]]:
    """Return the classes in the host's registry of networks by name."""
    from basicsr.utils.registry import ARCH_REGISTRY

    return registered_names(ARCH_REGISTRY)


def _arguments(network: Options) -> dict[str, Any]:
    """Return the arguments of a network by name: those in its options, and the defaults of the others."""
    parameters = inspect.signature(_networks()[network['type']]).parameters
    defaults = {name: one.default for name, one in parameters.items() if one.default is not one.empty}
    return {**defaults, **{name: value for name, value in network.items() if name != 'type'}}
