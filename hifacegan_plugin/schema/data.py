"""The options of a data set."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Discriminator, Field, Tag, WithJsonSchema

from hifacegan_plugin.schema.section import VARIANT, Count, FromZero, Section, Switch, option

OURS = 'DegradationDataset'
TRAINING_ONLY = ('gt_size', 'use_hflip', 'use_rot', 'deliver')
A_ROOT = 'a path or a list of paths'


class Loading(Section):
    """The options that the host reads from any data set to load batches."""

    name: str | None = option('name of the data set, used in logs and for folders of results', None, takes='a name')
    type: str = option('the class of the data set', takes='the name of a class')
    phase: str | None = option('`train`, `val` or `test`; the host sets it from the name of the section', None)
    scale: Count = option('returns degraded images at 1/`scale` of the size; the host sets it from the file', 1)
    batch_size_per_gpu: Count | None = option('training: batch size of each process', None, unit='images')
    num_worker_per_gpu: FromZero | None = option('training: data workers of each process', None)
    # Below 1, the host's sampler would draw the same images in every epoch.
    dataset_enlarge_ratio: Annotated[float, Field(ge=1, allow_inf_nan=False)] = option(
        'training: number of passes over the images in an epoch, each with new random draws', 1
    )
    prefetch_mode: Literal['cpu', 'cuda'] | None = option(
        'training: prepares the next batch in a thread (`cpu`) or copies it to the GPU ahead of time (`cuda`, which '
        'needs `pin_memory: true`)',
        None,
        takes='~, cpu or cuda',
    )
    num_prefetch_queue: Count = option('training: number of batches that `prefetch_mode: cpu` keeps ready', 1)
    pin_memory: Switch = option('keeps batches in pinned memory, from which GPUs copy faster', False)
    persistent_workers: Switch = option('training: keeps the data workers between epochs', False)
    use_shuffle: Switch = option("ignored; the host's files have it, but its sampler always shuffles", None)


class HostDataset(Loading):
    """A data set of the host or of another package, which reads its other options itself."""

    model_config = ConfigDict(extra='allow')
    type: Annotated[str, WithJsonSchema({'type': 'string', 'not': {'const': OURS}})] = option(
        'the class of the data set', takes='the name of a class'
    )


class IoBackend(Section):
    """Where images are stored."""

    type: Literal['disk', 'lmdb'] = option('`disk` for a folder, `lmdb` for a database')


def _expression(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f'it is not a regular expression ({error})') from error
    return pattern


class GuideOptions(Section):
    """Where the guides of ``DegradationDataset`` come from."""

    person: Annotated[str, AfterValidator(_expression)] | None = option(
        'a regular expression whose first group matches the person in the name of an image, such as `(.+)_` for '
        '`anna_02.png`; the guide is then another image of that person',
        None,
        takes='a regular expression',
    )
    list_file: str | None = option(
        'a text file; each line names an image and its guide, separated by a tab. As in `meta_info_file`, names are '
        'paths below the folder or keys. If `person` is also set, lines that pair two people are skipped',
        None,
        takes='a path',
    )
    view: Any = option(
        'makes a second view of an image that has no other image as a guide; by default the image is mirrored with '
        'probability 1/2, warped by a thin-plate spline, and its colours are changed',
        None,
        takes='a recipe or a list of steps',
    )


class DegradationOptions(Loading):
    """The options of ``DegradationDataset``."""

    type: Literal['DegradationDataset'] = option('the class of the data set')
    dataroot_gt: str | list[str] = option(
        'clean images: a folder (with its subfolders), an LMDB, a pattern such as `ffhq-*.lmdb`, or a list of these',
        takes=A_ROOT,
    )
    io_backend: IoBackend | None = option('`{type: lmdb}` for databases; without it, `{type: disk}`', None)
    degradation: Any = option('see [Recipes](#recipes)', takes='a recipe or a list of steps')
    meta_info_file: str | None = option(
        'a text file with the names of the images to use, one per line: paths below the folder, with or without '
        'suffix, or keys of the LMDB. The files of `hifacegan split` and any `meta_info.txt` have this form. By '
        'default, all images are used',
        None,
        takes='a path',
    )
    color: Literal['rgb', 'grey'] = option(
        '`grey` is for a network with `num_in_ch: 1`: it degrades the luma and returns one channel, so that noise is '
        'as strong as in the recipe',
        'rgb',
    )
    resize: Count | Annotated[list[Count], Field(min_length=2, max_length=2)] | None = option(
        'first resizes images to this length of the shorter side, or to `[height, width]`',
        None,
        takes='the length of the shorter side or [height, width], in pixels',
    )
    gt_size: Count | None = option(
        'training: side of the square crop; by default, images are not cropped', None, unit='pixels'
    )
    use_hflip: Switch = option('training: flips left to right with probability 1/2', False)
    use_rot: Switch = option('training: flips upside down, and transposes, each with probability 1/2', False)
    dataroot_depth: str | list[str] | None = option(
        'depth maps for `Haze`: folders or LMDBs, with the same backend and names as the images. A depth map is a grey '
        'image of 8 or 16 bits; 0 is near. It is resized, cropped and flipped like its image',
        None,
        takes=A_ROOT,
    )
    guide: GuideOptions | None = option(
        'also returns a `guide`, another image of the same person, for `GuidedRestorer`; `{}` uses second views. '
        'See [Guides](#guides)',
        None,
    )
    seed: FromZero = option('random seed of crops, flips and degradations', 0)
    return_parameters: Switch = option(
        'also returns the drawn steps and parameters as JSON, under `degradation`, for scripts', False
    )
    deliver: Literal['float', 'uint8'] | None = option(
        'training: `uint8` returns bytes, a quarter of the data; the model has to scale them, as `HiFaceGANCSRModel` '
        'does',
        'float',
        takes='float or uint8',
    )

    def conflicts(self) -> Iterator[str]:
        """See :class:`Section`."""
        defaults = {name: DegradationOptions.model_fields[name].default for name in TRAINING_ONLY}
        stray = [name for name, default in defaults.items() if getattr(self, name) not in (None, default)]
        if self.phase not in (None, 'train') and stray:
            yield (
                f'{", ".join(stray)} is only for training. Phase {self.phase} returns whole images as float. To bring '
                'them to one size, set resize.'
            )
        if self.gt_size is not None and self.gt_size % self.scale:
            yield f'gt_size: {self.gt_size} is not a multiple of scale ({self.scale}).'


class BuiltDegradations(DegradationOptions):
    """The options of ``DegradationDataset`` as the host passes them to its constructor."""

    type: str = option('the class of the data set or a class derived from it', OURS)  # type: ignore[assignment]
    phase: str = option('`train`, `val` or `test`')


# Options that the host requires for the training set.
_NAME = option('name of the data set, used in the log', takes='a name')
_BATCH = option('batch size of each process', unit='images')
_WORKERS = option('data workers of each process')


class TrainingDegradations(DegradationOptions):
    """The options of a ``DegradationDataset`` for training."""

    name: str = _NAME
    batch_size_per_gpu: Count = _BATCH
    num_worker_per_gpu: FromZero = _WORKERS


class TrainingHostDataset(HostDataset):
    """The options of another data set for training."""

    name: str = _NAME
    batch_size_per_gpu: Count = _BATCH
    num_worker_per_gpu: FromZero = _WORKERS


def _variant(options: Any) -> str:
    kind = options.get('type') if isinstance(options, dict) else getattr(options, 'type', None)
    return f'{VARIANT}{"ours" if kind == OURS else "others"}'


DatasetToTrain = Annotated[
    Annotated[TrainingDegradations, Tag(f'{VARIANT}ours')] | Annotated[TrainingHostDataset, Tag(f'{VARIANT}others')],
    Discriminator(_variant),
]
DatasetToTest = Annotated[
    Annotated[DegradationOptions, Tag(f'{VARIANT}ours')] | Annotated[HostDataset, Tag(f'{VARIANT}others')],
    Discriminator(_variant),
]


class DatasetsToTest(Section):
    """Data sets by name: ``val``, ``val_1``, ``val_2`` and so on for a training, ``test`` and so on for a test."""

    model_config = ConfigDict(extra='allow')
    __pydantic_extra__: dict[str, DatasetToTest]

    def conflicts(self) -> Iterator[str]:
        """See :class:`Section`."""
        labels: dict[str, str] = {}
        for label, options in (self.model_extra or {}).items():
            if options.name is None:  # the host needs it
                yield f'{label}: name is missing. Metrics are logged and results are saved under this name.'
            elif (first := labels.setdefault(options.name, label)) != label:
                yield f'{label}: {first} has the same name, {options.name}: metrics and results would be mixed up.'


class DatasetsOfTraining(DatasetsToTest):
    """The training set and the validation sets."""

    train: DatasetToTrain = option('the training set', takes='the options of a data set')
