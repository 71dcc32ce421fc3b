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
    """What the host reads of the options of any data set to load batches from it."""

    name: str | None = option('of the data set, in logs and in the folders of results', None, takes='a name')
    type: str = option('the class of the data set', takes='the name of a class')
    phase: str | None = option('`train`, `val` or `test`; the host sets it by the name of the section', None)
    scale: Count = option('delivers the degraded image at 1/`scale` of the size; the host copies that of the file', 1)
    batch_size_per_gpu: Count | None = option('training: batch of each process', None, unit='images')
    num_worker_per_gpu: FromZero | None = option('training: data workers of each process', None)
    # Of less than one pass, the host's sampler draws the same first images in every epoch.
    dataset_enlarge_ratio: Annotated[float, Field(ge=1, allow_inf_nan=False)] = option(
        'training: makes an epoch of that many passes over the images, each drawn anew', 1
    )
    prefetch_mode: Literal['cpu', 'cuda'] | None = option(
        'training: prepares the next batch in a thread, or on the GPU, which needs `pin_memory: true`',
        None,
        takes='~, cpu or cuda',
    )
    num_prefetch_queue: Count = option('training: batches that `prefetch_mode: cpu` keeps ready', 1)
    pin_memory: Switch = option('keeps batches in memory that GPUs copy from faster', False)
    persistent_workers: Switch = option('training: keeps the data workers between epochs', False)
    use_shuffle: Switch = option("training: a key of the host's files; its sampler shuffles always", None)


class HostDataset(Loading):
    """A data set of the host or of somebody else, which looks its other options up itself."""

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
        raise ValueError(f'it is no regular expression ({error})') from error
    return pattern


class GuideOptions(Section):
    """Where the guides of ``DegradationDataset`` come from."""

    person: Annotated[str, AfterValidator(_expression)] | None = option(
        'a regular expression whose first group tells the person by the name of an image, such as `(.+)_` for '
        '`anna_02.png`; a guide is then another image of that person',
        None,
        takes='a regular expression',
    )
    list_file: str | None = option(
        'a text file with an image and a guide of it in each line, a tab between; as in `meta_info_file`, names are '
        'paths below the folder or keys. With `person` too, a line that pairs two people is left out',
        None,
        takes='a path',
    )
    view: Any = option(
        'makes a second view of an image with no other to be its guide; by default it is mirrored half of the time, '
        'warped as a thin plate and recoloured',
        None,
        takes='a recipe or a list of steps',
    )


class DegradationOptions(Loading):
    """The options of ``DegradationDataset``."""

    type: Literal['DegradationDataset'] = option('the class of the data set')
    dataroot_gt: str | list[str] = option(
        'clean images: a folder (searched with all below it) or an LMDB, a pattern such as `ffhq-*.lmdb`, or a list of '
        'these',
        takes=A_ROOT,
    )
    io_backend: IoBackend | None = option('`{type: lmdb}` for databases; without it, `{type: disk}`', None)
    degradation: Any = option('see [Recipes](#recipes)', takes='a recipe or a list of steps')
    meta_info_file: str | None = option(
        'a text file that names the images to take, one a line: paths below the folder, with or without suffix, or '
        'keys of the LMDB. What `hifacegan split` writes, or a `meta_info.txt`, will do; without it, all are taken',
        None,
        takes='a path',
    )
    color: Literal['rgb', 'grey'] = option(
        '`grey`, for a network with `num_in_ch: 1`: the luma is degraded, so that noise is as strong as the recipe '
        'says, and delivered in one channel',
        'rgb',
    )
    resize: Count | Annotated[list[Count], Field(min_length=2, max_length=2)] | None = option(
        'brings images to this length of the shorter side, or to `[height, width]`, before anything else',
        None,
        takes='the length of the shorter side or [height, width], in pixels',
    )
    gt_size: Count | None = option(
        'training: side of the square crop; without it, images are not cropped', None, unit='pixels'
    )
    use_hflip: Switch = option('training: flips left to right with probability 1/2', False)
    use_rot: Switch = option('training: flips upside down, and transposes, each with probability 1/2', False)
    dataroot_depth: str | list[str] | None = option(
        'depth maps for `Haze`: folders or LMDBs, of the backend of the images, with a grey image of 8 or 16 bits, 0 '
        'being near, under the name of each image. They are resized, cropped and flipped with it',
        None,
        takes=A_ROOT,
    )
    guide: GuideOptions | None = option(
        'also delivers, as `guide`, another image of the same person, for `GuidedRestorer`; `{}` takes second views. '
        'See [Guides](#guides)',
        None,
    )
    seed: FromZero = option('of crops, flips and degradations', 0)
    return_parameters: Switch = option(
        'also delivers, as `degradation`, what was drawn, in JSON: for scripts that read the data set', False
    )
    deliver: Literal['float', 'uint8'] | None = option(
        'training: `uint8` hands over bytes, a quarter of the traffic, to models that scale them as '
        '`HiFaceGANCSRModel` does',
        'float',
        takes='float or uint8',
    )

    def conflicts(self) -> Iterator[str]:
        """See :class:`Section`."""
        defaults = {name: DegradationOptions.model_fields[name].default for name in TRAINING_ONLY}
        stray = [name for name, default in defaults.items() if getattr(self, name) not in (None, default)]
        if self.phase not in (None, 'train') and stray:
            yield (
                f'{", ".join(stray)} is for training; phase {self.phase} takes whole images, as float (resize: '
                'brings them to one size).'
            )
        if self.gt_size is not None and self.gt_size % self.scale:
            yield f'gt_size: give a multiple of scale ({self.scale}), not {self.gt_size}.'


class BuiltDegradations(DegradationOptions):
    """The options of ``DegradationDataset`` as the host hands them over to build it."""

    type: str = option('the class of the data set, perhaps one derived from it', OURS)  # type: ignore[assignment]
    phase: str = option('`train`, `val` or `test`')


# What the host needs of the data set that it trains on.
_NAME = option('of the data set, in the log', takes='a name')
_BATCH = option('batch of each process', unit='images')
_WORKERS = option('data workers of each process')


class TrainingDegradations(DegradationOptions):
    """The options of ``DegradationDataset`` to train on."""

    name: str = _NAME
    batch_size_per_gpu: Count = _BATCH
    num_worker_per_gpu: FromZero = _WORKERS


class TrainingHostDataset(HostDataset):
    """The options of another data set to train on."""

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
    """Data sets by name; those of a training are named ``val``, or ``val_1``, ``val_2``; those of a test ``test``."""

    model_config = ConfigDict(extra='allow')
    __pydantic_extra__: dict[str, DatasetToTest]

    def conflicts(self) -> Iterator[str]:
        """See :class:`Section`."""
        labels: dict[str, str] = {}
        for label, options in (self.model_extra or {}).items():
            if options.name is None:  # the host needs it
                yield f'{label}: name is missing, under which figures are logged and results are saved.'
            elif (first := labels.setdefault(options.name, label)) != label:
                yield f'{label}: name: {options.name} is that of {first}, too: figures and results would mix.'


class DatasetsOfTraining(DatasetsToTest):
    """The data set that is trained on, and those that are validated on."""

    train: DatasetToTrain = option('what is trained on', takes='the options of a data set')
