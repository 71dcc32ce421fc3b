"""The options file of a training on a user's own images: the paper's, changed to fit the images and the memory."""

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

# The form of the network for small budgets, which needs no weights of others.
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
    'train:pixel_opt': """# keeps to the ground truth at this small budget; the paper's training has no pixel loss
        type: L1Loss
        loss_weight: 10.0
    """,
}

# Enough iterations to see on a CPU what the network learns.
SHORT: Changes = {
    'train:scheduler': '# full rate up to start_iter, then down to zero',
    'train:scheduler:start_iter': '2000',
    'train:scheduler:end_iter': '4000',
    'train:total_iter': '4000  # for a better network, raise it, and start_iter and end_iter with it',
    'val:val_freq': '1000',
    'logger:save_checkpoint_freq': '1000',
}


class Form(NamedTuple):
    """A size of the training: the memory that it takes, its network and its crops."""

    memory: float  # of the device, in GiB, from which on it fits; 0 is a CPU
    crop: int  # pixels
    batch: int
    changes: Changes


def _paper(memory: float, width: int, crop: int) -> Form:
    """Return the paper's form at a width."""
    changes: Changes = {
        'network_g:num_feat': f'{width}  # the paper has 64; memory grows with it',
        'network_d:num_feat': f'{width}',
    }
    return Form(memory, crop, 2, changes)


# From large to small. Two crops of 512 take 12.3, 9.2 and 6.4 GiB at these widths, two of 256 at width 32 take 2.3, as
# counted, not measured: what autograd keeps for the backward pass of both networks and of VGG19, weights, gradients,
# moments and average. The rest is for what the libraries take.
FORMS = (
    _paper(16, 64, 512),
    _paper(12, 48, 512),
    _paper(8, 32, 512),
    _paper(4, 32, 256),
    Form(0, 64, 8, FAST_FORM | SHORT),
)
SMALLEST_CROP = 64  # that the paper's network takes
MULTIPLE = 32  # of the sides that it works on
DRAWS_AN_EPOCH = 1000  # at least; the host logs and shuffles by epochs
LARGE = 2**20  # pixels: images that are validated are brought to a smaller size from here on


@dataclass(frozen=True)
class OwnImages:
    """Images to train and to validate on, as options of the data sets.

    Attributes:
        root: folder or LMDB.
        count: of the images that are trained on.
        shorter_side: the smallest one of all images that are trained on, in pixels.
        training_list: a file that names the images of ``root`` that are trained on; None for all.
        validation_root: folder or LMDB.
        validation_list: as ``training_list``, of those that are validated on.
        largest_validated: pixels of the largest image that is validated on.
    """

    root: Path
    count: int
    shorter_side: int
    training_list: Path | None
    validation_root: Path
    validation_list: Path | None
    largest_validated: int


def form_for(memory: float) -> Form:
    """Return the largest form of the training that fits a device of so many GiB; 0 is a CPU."""
    return next(form for form in FORMS if form.memory <= memory)


def own_training_text(name: str, images: OwnImages, degradation: str, memory: float, command: str) -> str:
    """Return the text of an options file for a training on one's own images.

    Args:
        name: of the experiment.
        images: what is trained and validated on.
        degradation: the name of a recipe.
        memory: of the device, in GiB; 0 is a CPU.
        command: that starts the training, for the head of the file.

    Raises:
        ValueError: an image is smaller than the smallest crop.
    """
    form = form_for(memory)
    crop = min(form.crop, images.shorter_side // MULTIPLE * MULTIPLE)
    if crop < SMALLEST_CROP:
        raise ValueError(
            f'{images.root}: the shortest side of an image is {images.shorter_side} pixels, and the network takes '
            f'{SMALLEST_CROP} and more: hifacegan lmdb --size {SMALLEST_CROP} makes such images larger'
        )
    whole_images = f'{crop}  # some images are large; validation takes whole ones'
    options = edit(
        PAPER,
        form.changes
        | {
            'name': _scalar(name),
            **({} if memory else {'num_gpu': '0  # trains on the CPU; auto takes all GPUs of this machine'}),
            'datasets:train:degradation': f'&degradation {degradation}  # or a list of steps: docs/degradations.md',
            'datasets:train:gt_size': f'{crop}  # side of the crop, a multiple of {MULTIPLE}',
            'datasets:train:use_rot': 'false  # true for images that have no top, such as those from above',
            'datasets:train:batch_size_per_gpu': f'{form.batch}',
            'datasets:train:dataset_enlarge_ratio': f'{_passes(images.count)}'
            '  # passes over the images per epoch, each with new crops and degradations',
            **_data_set('train', 'own', images.root, images.training_list),
            **_data_set('val', 'own_val', images.validation_root, images.validation_list),
            **({'datasets:val:resize': whole_images} if images.largest_validated > LARGE else {}),
            'train:total_iter': form.changes.get(
                'train:total_iter', '# the paper trains so long; end_iter goes with it'
            ),
            'val:metrics:lpips': '# left out, with a message, if package or weights are missing',
            'val:metrics:fed': None,
        },
    )
    head = (
        f'# A training on images of your own, degraded by the recipe {degradation}.',
        f'#   {command}',
        '# You may want to change: degradation, gt_size, batch_size_per_gpu, num_feat, total_iter.',
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
    return max(1, -(-DRAWS_AN_EPOCH // count))


def _scalar(text: str) -> str:
    """Write text as YAML, on one line, without the `` #`` that would begin a comment."""
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        value = None
    plain = value == text and not any(sign in text for sign in '#:')
    return text if plain else json.dumps(text, ensure_ascii=False).replace('#', '\\u0023')
