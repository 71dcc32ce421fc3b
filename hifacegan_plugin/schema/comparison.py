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
    """The options under ``page``, which bound the size of the HTML page."""

    images: Annotated[int, Field(ge=0, le=10000)] = option('images of each test set, spread over it', 8)
    max_side: Annotated[int, Field(ge=16, le=16383)] = option(
        'longer side, above which an image is shrunk for the page', 512, unit='pixels'
    )
    quality: Annotated[int, Field(ge=1, le=101)] = option('of the WebP images; 101 is lossless', 92)


def _template(text: str) -> str:
    try:
        named = text.format('name')
    except (LookupError, AttributeError, ValueError):
        named = ''
    if 'name' not in named:
        raise ValueError('it is no template of one name')
    return text


NameTemplate = Annotated[str, AfterValidator(_template)]
A_TEMPLATE = 'text with one {}, where that name goes'


class PairedDatasetOptions(Section):
    """A ``PairedImageDataset``, of which a comparison measures whole RGB images."""

    type: Literal['PairedImageDataset'] = option('the class of the data set')
    name: str | None = option('without effect; the name of the section holds', None)
    phase: str | None = option('without effect; it is `test`', None)
    dataroot_gt: str | list[str] = option('ground truth: a folder or an LMDB, or a list of these', takes=A_ROOT)
    dataroot_lq: str | list[str] = option('degraded images, likewise', takes=A_ROOT)
    io_backend: IoBackend | None = option('`{type: lmdb}` for databases; without it, `{type: disk}`', None)
    filename_tmpl: NameTemplate = option(
        'how the name of a degraded image is made from that of its ground truth', '{}', takes=A_TEMPLATE
    )
    scale: Count = option('how many times larger the ground truth is than the degraded image', 1)
    meta_info_file: str | None = option('a text file that names the images to take, one a line', None, takes='a path')


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
    network_g: TypeAndArguments | None = option('the network; without it, what the checkpoint says about itself', None)
    pretrain_network_g: str | None = option('weights', None, takes='a path')
    param_key_g: str | None = option('which weights of a file of several: `params` or `params_ema`', None)
    strict_load_g: Switch = option('false takes what fits', True)
    scale: Count = option('how many times larger its output is than its input', 1)
    multiple: Count = option('sides of its input are padded to a multiple of this, and cut back', 1)

    def conflicts(self) -> Iterator[str]:
        """See :class:`Section`."""
        if self.network_g is None and self.pretrain_network_g is None:
            yield f'set network_g or pretrain_network_g for a network, or type: {listed(list(get_args(Kind)))}.'


class RecognisedRestorerOptions(Section):
    """A restorer that is a network of another author, which spandrel recognises by its weights."""

    type: Literal['spandrel'] = option('a network that spandrel recognises')
    pretrain_network_g: str = option('weights, as their authors publish them', takes='a path')
    param_key_g: str | None = option('which weights of a file of several, such as `params`', None)
    shrink_input: Switch = option(
        'bring the degraded image to 1/scale of the size of the ground truth first, as where it was enlarged (`sr4x`)',
        False,
    )


class FolderOptions(Section):
    """Results that were made elsewhere, in place of a restorer."""

    type: Literal['folder'] = option('images that were restored elsewhere')
    dataroot: str = option('the folder, or one with a folder for each test set, by its name', takes='a path')
    filename_tmpl: NameTemplate = option(
        'how the name of a result is made from that of the degraded image', '{}', takes=A_TEMPLATE
    )


class ClassicalOptions(Section):
    """A restorer without options."""

    type: Annotated[Kind, WithJsonSchema({'enum': ['input', 'bicubic']})] = option(
        '`input` is the degraded image, `bicubic` enlarges it'
    )


class FastNlMeansOptions(Section):
    """OpenCV's ``fastNlMeansDenoisingColored``."""

    type: Literal['fast_nl_means'] = option('the denoiser')
    h: Annotated[float, Field(ge=0, allow_inf_nan=False)] = option('strength for luminance', 10)
    h_color: Annotated[float, Field(ge=0, allow_inf_nan=False)] = option('strength for colour', 10)
    template: Count = option('side of the patches that are compared', 7, unit='pixels')
    search: Count = option('side of the window that is searched', 21, unit='pixels')


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


def no_folder_name(name: str) -> str:
    """Return what is wrong with a name that :data:`FOLDER_NAME` does not fit."""
    return f'{name!r} cannot be the name of a folder; use letters, digits, space and -_+.,=()'


class Entries(Section):
    """Sections by names of the user's own, each of which can name a folder."""

    model_config = ConfigDict(extra='allow')

    def conflicts(self) -> Iterator[str]:
        """See :class:`Section`."""
        entries = self.__pydantic_extra__ or {}
        if not entries:
            yield 'list at least one entry, as NAME: {...}'
        for name in entries:
            if not FOLDER_NAME.fullmatch(name):
                yield no_folder_name(name)


class TestSets(Entries):
    """The data sets, by name."""

    __pydantic_extra__: dict[str, DatasetOptions]


class Restorers(Entries):
    """The restorers, by the label that they have in the table."""

    __pydantic_extra__: dict[str, RestorerOptions]

    def conflicts(self) -> Iterator[str]:
        """See :class:`Section`."""
        yield from super().conflicts()
        for name in {DEGRADED, TRUTH, GUIDE} & self.__pydantic_extra__.keys():
            yield f'{name!r} cannot be the name of a restorer: its folder holds other images'


class Metrics(Entries):
    """The metrics, by name."""

    __pydantic_extra__: dict[str, MetricOptions]


def _number_as_text(name: Any) -> Any:
    return str(name) if isinstance(name, (int, float)) and not isinstance(name, bool) else name


class ComparisonFile(Section):
    """The options file of a comparison."""

    name: str = option('of the comparison, and of its folder in `results`', takes='a name')
    plugin: Any = option('the line that imports the plugin', None)
    datasets: TestSets = option('test sets, a table each')
    restorers: Restorers = option('a row each, in this order')
    metrics: Metrics = option('as `val: metrics` of a training')
    against: str | None = option(
        'the restorer from which the differences of the others are shown, image by image', None
    )
    page: Page | None = option('what bounds the size of the page', None)

    def conflicts(self) -> Iterator[str]:
        """See :class:`Section`."""
        labels = (self.restorers.__pydantic_extra__ or {}).keys()
        if not FOLDER_NAME.fullmatch(self.name):
            yield f'name: {no_folder_name(self.name)}'
        if self.against is not None and self.against not in labels:
            yield f'against: {self.against} is none of the restorers: {", ".join(labels)}'

    @field_validator('name', 'against', mode='before')
    @classmethod
    def _as_text(cls, name: Any) -> Any:
        """Take a number for a name."""
        return _number_as_text(name)

    @field_validator('datasets', 'restorers', 'metrics', mode='before')
    @classmethod
    def _with_text_keys(cls, section: Any) -> Any:
        """Take numbers, such as 2024, for names."""
        if not isinstance(section, dict):
            return section
        return {_number_as_text(name): options for name, options in section.items()}
