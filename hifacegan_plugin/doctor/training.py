"""Check a training or test: how the host reads the options, its intervals, and its files."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

import torch
from basicsr.archs import vgg_arch
from basicsr.utils.options import parse_options
from torchvision.models import get_model_weights

from hifacegan_plugin.models.lr_scheduler import LinearDecayLR
from hifacegan_plugin.schema.problem import Problem, describe_error
from hifacegan_plugin.system.attributes import replaced


def parse_as_host(file: Path, is_train: bool) -> tuple[dict[str, Any], list[Problem]]:
    """Return the options as the host parses them; empty, with a problem, if it fails."""
    try:
        with replaced(sys, argv=['basicsr', '-opt', str(file)]), redirect_stdout(None):
            opt, _ = parse_options(str(Path.cwd()), is_train)
    except Exception as error:  # the host may raise anything for options of the wrong type
        return {}, [
            Problem(
                f'The host cannot parse the options: {describe_error(error)}',
                'see the files in options/ for an example',
            )
        ]
    return opt, []


def check_intervals(opt: dict[str, Any]) -> Iterator[Problem]:
    """Find intervals that do not fit the length of the training or each other."""
    train, total = opt['train'], int(opt['train']['total_iter'])
    intervals = {f'logger: {key}': opt['logger'][key] for key in ('print_freq', 'save_checkpoint_freq')}
    if opt.get('val'):
        intervals['val: val_freq'] = opt['val']['val_freq']
    for name, interval in intervals.items():
        if interval > total:
            yield Problem(
                f'{name}: {interval:,.0f} is more than the {total:,} iterations of the training.',
                'lower it',
                stops=False,
            )
    scheduler = train['scheduler']
    if scheduler['type'] == LinearDecayLR.__name__ and scheduler['end_iter'] != total:
        late = 'is not zero at the end' if scheduler['end_iter'] > total else 'is zero before the end'
        yield Problem(
            f'train: scheduler: end_iter: {scheduler["end_iter"]:,} is not total_iter ({total:,}): the '
            f'learning rate {late}.',
            'make them equal',
            stops=False,
        )
    if opt['logger']['save_checkpoint_freq'] % (train.get('accumulate_iters') or 1):
        yield Problem(
            'logger: save_checkpoint_freq is not a multiple of train: accumulate_iters: a resumed training '
            'loses accumulated gradients.',
            'set it to a multiple',
            stops=False,
        )


def check_paths(opt: dict[str, Any]) -> Iterator[Problem]:
    """Find missing weights, and an existing folder of an earlier training."""
    path = opt['path']
    for key, value in path.items():
        if value and key.startswith('pretrain_') and not Path(value).is_file():
            yield Problem(f'path: {key}: {value} does not exist.', 'correct the path, or set ~ to use none')
    if not opt['is_train']:
        if not path.get('pretrain_network_g'):
            yield Problem('path: pretrain_network_g is not set: an untrained network would be tested.', 'set it')
        return
    folder = Path(path['experiments_root'])
    if folder.exists() and not path.get('resume_state'):
        yield Problem(
            f'{folder} exists.',
            'use --auto_resume to continue this training; otherwise the folder is renamed and a new training starts',
            stops=False,
        )


def check_perceptual_weights(opt: dict[str, Any]) -> Iterator[Problem]:
    """Check that the weights of the perceptual loss are on this machine or can be downloaded."""
    options = opt.get('train', {}).get('perceptual_opt')
    if not options or 'vgg_type' not in options:
        return
    url = get_model_weights(options['vgg_type'])['IMAGENET1K_V1'].url
    here = Path(torch.hub.get_dir()) / 'checkpoints' / url.rpartition('/')[2]
    if here.is_file() or (options['vgg_type'] == 'vgg19' and Path(vgg_arch.VGG_PRETRAIN_PATH).is_file()):
        return
    try:
        with urlopen(Request(url, method='HEAD'), timeout=10):
            yield Problem(
                f'train: perceptual_opt: {here.name} is not on this machine; it is downloaded now, or when '
                'training starts.',
                f'without a network, copy it to {here.parent}',
                stops=False,
            )
    except (URLError, TimeoutError) as error:
        yield Problem(
            f'train: perceptual_opt: {here.name} is not on this machine and cannot be downloaded '
            f'({getattr(error, "reason", error)}).',
            f'copy {url} to {here.parent}, or remove perceptual_opt',
        )
