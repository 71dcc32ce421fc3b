"""The options file of ``hifacegan compare``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, ConfigDict, Discriminator, Field, Tag, WithJsonSchema, field_validator

from hifacegan_plugin.schema.data import A_ROOT, OURS, DegradationOptions, HostDataset, IoBackend
from hifacegan_plugin.schema.file import MetricOptions
from hifacegan_plugin.schema.section import VARIANT, Count, Section, Switch, listed, option
from hifacegan_plugin.schema.training import TypeAndArguments

DEGRADED, TRUTH, GUIDE = 'degraded', 'truth', 'guide'  # folders of images beside those of the restorers
PAIRED = 'PairedImageDataset'
Kind = Literal['input', 'bicubic', 'fast_nl_means', 'spandrel', 'folder']  # of restorers, beside host networks
FOLDER_NAME = re.compile(r'\w[\w .,+=()-]*')


class Page(Section):
    """The options under ``page``, which limit the size of the HTML page."""

    images: Annotated[int, Field(ge=0, le=10000)] = option(
        'number of images shown from each test set, evenly spaced', 8
    )
    max_side: Annotated[int, Field(ge=16, le=16383)] = option(
        'images with a longer side above this are shrunk for the page', 512, unit='pixels'
    )
    quality: Annotated[int, Field(ge=1, le=101)] = option('quality of the WebP images; 101 is lossless', 92)


def _template(text: str) -> str:
    try:
        named = text.format('name')
    except (LookupError, AttributeError, ValueError):
        named = ''
    if 'name' not in named:
        raise ValueError('it needs exactly one {}')
    return text


NameTemplate = Annotated[str, AfterValidator(_template)]
A_TEMPLATE = 'text with one {}, which stands for that name'


class PairedDatasetOptions(Section):
    """A ``PairedImageDataset``; a comparison measures its images whole and in RGB."""

    type: Literal['PairedImageDataset'] = option('the class of the data set')
    name: str | None = option('ignored; the name of the section is used', None)
    phase: str | None = option('ignored; always `test`', None)
    dataroot_gt: str | list[str] = option('ground truth: a folder or an LMDB, or a list of these', takes=A_ROOT)
    dataroot_lq: str | list[str] = option('degraded images: a folder or an LMDB, or a list of these', takes=A_ROOT)
    io_backend: IoBackend | None = option('`{type: lmdb}` for databases; without it, `{type: disk}`', None)
    filename_tmpl: NameTemplate = option(
        'name of a degraded image, made from the name of its ground truth', '{}', takes=A_TEMPLATE
    )
    scale: Count = option('how many times larger the ground truth is than the degraded image', 1)
    meta_info_file: str | None = option(
        'a text file with the names of the images to use, one per line', None, takes='a path'
    )


class OtherDatasetOptions(HostDataset):
    """Another data set of the host's registry."""

    type: Annotated[str, WithJsonSchema({'type': 'string', 'not': {'enum': [OURS, PAIRED]}})] = option(
        'the class of the data set', takes='the name of a class'
    )


class NetworkRestorerOptions(Section):
    """A restorer that is a network of the host's registry."""

    model_config = ConfigDict(
        json_schema_extra={'anyOf': [{'required': ['network_g']}, {'required': ['pretrain_network_g']}]}
    )
    network_g: TypeAndArguments | None = option('the network; by default, the options stored in the checkpoint', None)
    pretrain_network_g: str | None = option('weights', None, takes='a path')
    param_key_g: str | None = option('which weights to load from a file with several: `params` or `params_ema`', None)
    strict_load_g: Switch = option('`false` loads the weights that fit and ignores the rest', True)
    scale: Count = option('how many times larger the output is than the input', 1)
    multiple: Count = option('the sides of the input are padded to a multiple of this, and the output is cropped', 1)

    def conflicts(self) -> Iterator[str]:
        """See :class:`Section`."""
        if self.network_g is None and self.pretrain_network_g is None:
            yield f'set network_g or pretrain_network_g for a network, or type: {listed(list(get_args(Kind)))}.'


class RecognisedRestorerOptions(Section):
    """A restorer that is a network from another author, which spandrel recognises by its weights."""

    type: Literal['spandrel'] = option('a network that spandrel recognises')
    pretrain_network_g: str = option('weights as published by their authors', takes='a path')
    param_key_g: str | None = option('which weights to load from a file with several, such as `params`', None)
    shrink_input: Switch = option(
        'first resize the degraded image to 1/scale of the size of the ground truth (for recipes that enlarge it back, '
        'such as `sr4x`)',
        False,
    )


class FolderOptions(Section):
    """Images that another program restored, in place of a restorer."""

    type: Literal['folder'] = option('images that another program restored')
    dataroot: str = option('a folder of images, or of one folder for each test set, with its name', takes='a path')
    filename_tmpl: NameTemplate = option(
        'name of a restored image, made from the name of the degraded image', '{}', takes=A_TEMPLATE
    )


class ClassicalOptions(Section):
    """A restorer without options."""

    type: Annotated[Kind, WithJsonSchema({'enum': ['input', 'bicubic']})] = option(
        '`input` returns the degraded image, `bicubic` enlarges it'
    )


class FastNlMeansOptions(Section):
    """OpenCV's ``fastNlMeansDenoisingColored``."""

    type: Literal['fast_nl_means'] = option('the denoiser')
    h: Annotated[float, Field(ge=0, allow_inf_nan=False)] = option('strength for luminance', 10)
    h_color: Annotated[float, Field(ge=0, allow_inf_nan=False)] = option('strength for colour', 10)
    template: Count = option('side of the compared patches', 7, unit='pixels')
    search: Count = option('side of the search window', 21, unit='pixels')


def _kind_of_data_set(options: Any) -> str:
    kind = options.get('type') if isinstance(options, dict) else None
    return VARIANT + (kind if kind in (OURS, PAIRED) else 'others')


def _kind_of_restorer(options: Any) -> str:
    if isinstance(options, dict) and 'type' in options:
        return VARIANT + (options['type'] if options['type'] in ('fast_nl_means', 'spandrel', 'folder') else 'others')
    return f'{VARIANT}network'


DatasetOptions = Annotated[
    Annotated[DegradationOptions, Tag(VARIANT + OURS)]
    | Annotated[PairedDatasetOptions, Tag(VARIANT + PAIRED)]
    | Annotated[OtherDatasetOptions, Tag(f'{VARIANT}others')],
    Discriminator(_kind_of_data_set),
]
RestorerOptions = Annotated[
    Annotated[NetworkRestorerOptions, Tag(f'{VARIANT}network')]
    | Annotated[RecognisedRestorerOptions, Tag(f'{VARIANT}spandrel')]
    | Annotated[FolderOptions, Tag(f'{VARIANT}folder')]
    | Annotated[FastNlMeansOptions, Tag(f'{VARIANT}fast_nl_means')]
    | Annotated[ClassicalOptions, Tag(f'{VARIANT}others')],
    Discriminator(_kind_of_restorer),
]


def invalid_folder_name(name: str) -> str:
    """Return the message for a name that does not match :data:`FOLDER_NAME`."""
    return f'{name!r} cannot be the name of a folder; use letters, digits, space and -_+.,=()'


class Entries(Section):
    """Sections by name. The user chooses the names; each must be usable as the name of a folder."""

    model_config = ConfigDict(extra='allow')

    def conflicts(self) -> Iterator[str]:
        """See :class:`Section`."""
        entries = self.__pydantic_extra__ or {}
        if not entries:
            yield 'list at least one entry, as NAME: {...}'
        for name in entries:
            if not FOLDER_NAME.fullmatch(name):
                yield invalid_folder_name(name)


class TestSets(Entries):
    """The data sets, by name."""

    __pydantic_extra__: dict[str, DatasetOptions]


class Restorers(Entries):
    """The restorers, by their labels in the table."""

    __pydantic_extra__: dict[str, RestorerOptions]

    def conflicts(self) -> Iterator[str]:
        """See :class:`Section`."""
        yield from super().conflicts()
        for name in {DEGRADED, TRUTH, GUIDE} & self.__pydantic_extra__.keys():
            yield f'{name!r} cannot be the name of a restorer: a folder of this name holds other images'


class Metrics(Entries):
    """The metrics, by name."""

    __pydantic_extra__: dict[str, MetricOptions]


def _number_as_text(name: Any) -> Any:
    return str(name) if isinstance(name, (int, float)) and not isinstance(name, bool) else name


class ComparisonFile(Section):
    """The options file of a comparison."""

    name: str = option('name of the comparison and of its folder in `results`', takes='a name')
    plugin: Any = option('the line that imports the plugin', None)
    datasets: TestSets = option('test sets; each gets a table')
    restorers: Restorers = option('restorers; each gets a row, in this order')
    metrics: Metrics = option('metrics, as under `val: metrics` in a training')
    against: str | None = option('a restorer; the differences of the others from it are reported, image by image', None)
    page: Page | None = option('limits for the size of the page', None)

    def conflicts(self) -> Iterator[str]:
        """See :class:`Section`."""
        labels = (self.restorers.__pydantic_extra__ or {}).keys()
        if not FOLDER_NAME.fullmatch(self.name):
            yield f'name: {invalid_folder_name(self.name)}'
        if self.against is not None and self.against not in labels:
            yield f'against: {self.against} is not one of the restorers: {", ".join(labels)}'

    @field_validator('name', 'against', mode='before')
    @classmethod
    def _as_text(cls, name: Any) -> Any:
        """Accept a number as a name."""
        return _number_as_text(name)

    @field_validator('datasets', 'restorers', 'metrics', mode='before')
    @classmethod
    def _with_text_keys(cls, section: Any) -> Any:
        """Accept numbers, such as 2024, as names."""
        if not isinstance(section, dict):
            return section
        return {_number_as_text(name): options for name, options in section.items()}
