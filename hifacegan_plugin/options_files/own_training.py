"""The options file for training on your own images: the paper's file, adapted to the images and the memory."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import yaml

from hifacegan_plugin import schema
from hifacegan_plugin.options_files import PAPER
from hifacegan_plugin.options_files.editing import Changes, edit, render

SCHEMA = Path(schema.__file__).with_name('training.schema.json')

# The fast network, for small budgets. It needs no downloaded weights.
FAST_FORM: Changes = {
    'network_g': """
        type: CSRGenerator
        preset: fast
        num_feat: 16
    """,
    'network_d:num_feat': '16',
    'network_d:n_layers_d': '3',
    'train:optim_g': '#',
    'train:optim_g:lr': '!!float 1e-3',
    'train:gan_opt:loss_weight': '0.01',
    'train:perceptual_opt': None,
    'train:feature_matching_opt:criterion': None,
    'train:feature_matching_opt:loss_weight': '0.1',
    'train:pixel_opt': """# keeps the output close to the ground truth; the paper's training has no pixel loss
        type: L1Loss
        loss_weight: 10.0
    """,
}

# On a CPU, enough iterations to see that the network learns.
SHORT: Changes = {
    'train:scheduler': '# full rate up to start_iter, then a linear decay to zero at end_iter',
    'train:scheduler:start_iter': '2000',
    'train:scheduler:end_iter': '4000',
    'train:total_iter': '4000  # for a better network, raise total_iter, start_iter and end_iter together',
    'val:val_freq': '1000',
    'logger:save_checkpoint_freq': '1000',
}


class Form(NamedTuple):
    """A training that fits a given amount of memory: its network, crops and batch size."""

    memory: float  # least memory of the device, in GiB; 0 means a CPU
    crop: int  # pixels
    batch: int
    changes: Changes


def _paper(memory: float, width: int, crop: int) -> Form:
    """Return a training of the paper's network with the given width."""
    changes: Changes = {
        'network_g:num_feat': f'{width}  # the paper has 64; memory grows with it',
        'network_d:num_feat': f'{width}',
    }
    return Form(memory, crop, 2, changes)


# From large to small. Two crops of 512 pixels take 12.3, 9.2 and 6.4 GiB at these widths; two crops of 256 pixels at
# width 32 take 2.3 GiB. These figures are computed, not measured: they include the tensors that autograd keeps for the
# backward pass of both networks and of VGG19, the weights, gradients, moments and averaged weights. The rest of the
# memory is left for the libraries.
FORMS = (
    _paper(16, 64, 512),
    _paper(12, 48, 512),
    _paper(8, 32, 512),
    _paper(4, 32, 256),
    Form(0, 64, 8, FAST_FORM | SHORT),
)
SMALLEST_CROP = 64  # pixels; the paper's network takes no smaller images
MULTIPLE = 32  # the paper's network pads sides to multiples of this
MIN_CROPS_PER_EPOCH = 1000  # BasicSR restarts its data loader in each epoch, so epochs should not be short
LARGE = 2**20  # pixels; larger validation images are downsized


@dataclass(frozen=True)
class OwnImages:
    """Images to train and to validate on, as options of the data sets.

    Attributes:
        root: folder or LMDB.
        count: number of training images.
        shorter_side: the smallest side of all training images, in pixels.
        training_list: file that names the training images in ``root``; None: all of them.
        validation_root: folder or LMDB.
        validation_list: file that names the validation images in ``validation_root``; None: all of them.
        largest_validated: number of pixels of the largest validation image.
    """

    root: Path
    count: int
    shorter_side: int
    training_list: Path | None
    validation_root: Path
    validation_list: Path | None
    largest_validated: int


def form_for(memory: float) -> Form:
    """Return the largest training that fits a device with ``memory`` GiB; 0 means a CPU."""
    return next(form for form in FORMS if form.memory <= memory)


def own_training_text(name: str, images: OwnImages, degradation: str, memory: float, command: str) -> str:
    """Return the text of an options file for training on a user's own images.

    Args:
        name: name of the experiment.
        images: the training and validation images.
        degradation: the name of a recipe.
        memory: memory of the device in GiB; 0 means a CPU.
        command: the command that starts the training, for the comment at the top of the file.

    Raises:
        ValueError: an image is smaller than the smallest crop.
    """
    form = form_for(memory)
    crop = min(form.crop, images.shorter_side // MULTIPLE * MULTIPLE)
    if crop < SMALLEST_CROP:
        raise ValueError(
            f'{images.root}: the shortest side of an image is {images.shorter_side} pixels, but the network needs at '
            f'least {SMALLEST_CROP}: enlarge the images with hifacegan lmdb --size {SMALLEST_CROP}'
        )
    whole_images = f'{crop}  # validation restores whole images, and some are large'
    options = edit(
        PAPER,
        form.changes
        | {
            'name': _scalar(name),
            **({} if memory else {'num_gpu': '0  # trains on the CPU; auto takes all GPUs of this machine'}),
            'datasets:train:degradation': f'&degradation {degradation}  # or a list of steps: docs/degradations.md',
            'datasets:train:gt_size': f'{crop}  # side of the crop, a multiple of {MULTIPLE}',
            'datasets:train:use_rot': 'false  # set true for images without a top, such as aerial images',
            'datasets:train:batch_size_per_gpu': f'{form.batch}',
            'datasets:train:dataset_enlarge_ratio': f'{_passes(images.count)}'
            '  # passes over the images per epoch, each with new crops and degradations',
            **_data_set('train', 'own', images.root, images.training_list),
            **_data_set('val', 'own_val', images.validation_root, images.validation_list),
            **({'datasets:val:resize': whole_images} if images.largest_validated > LARGE else {}),
            'train:total_iter': form.changes.get(
                'train:total_iter', '# as long as in the paper; change end_iter with it'
            ),
            'val:metrics:lpips': '# skipped, with a message, if its package or weights are missing',
            'val:metrics:fed': None,
        },
    )
    head = (
        f'# Trains on your own images, degraded by the recipe {degradation}.',
        f'#   {command}',
        '# Options that you may want to change: degradation, gt_size, batch_size_per_gpu, num_feat, total_iter.',
    )
    options.inside['name'].above = [f'# yaml-language-server: $schema={SCHEMA}', '', *head]
    return '\n'.join([*render(options), ''])


def _data_set(phase: str, name: str, root: Path, list_file: Path | None) -> Changes:
    where = f'datasets:{phase}'
    kind = 'lmdb  # disk for a folder' if root.suffix == '.lmdb' else 'disk  # lmdb for a database'
    changes: Changes = {
        f'{where}:name': name,
        f'{where}:dataroot_gt': _scalar(str(root)),
        f'{where}:io_backend:type': kind,
    }
    if list_file is not None:
        changes[f'{where}:meta_info_file'] = f'{_scalar(str(list_file))}  # names of the images, one a line'
    return changes


def _passes(count: int) -> int:
    return max(1, -(-MIN_CROPS_PER_EPOCH // count))


def _scalar(text: str) -> str:
    """Return text as a YAML scalar on one line, in quotes if necessary."""
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        value = None
    plain = value == text and not any(sign in text for sign in '#:')
    return text if plain else json.dumps(text, ensure_ascii=False).replace('#', '\\u0023')
