"""What an options file of ``hifacegan compare`` asks for."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from basicsr.utils.options import yaml_load

from hifacegan_plugin.data.degradations.registry import did_you_mean
from hifacegan_plugin.metrics.catalogue import direction
from hifacegan_plugin.schema.reading import repeated_keys

DEGRADED, TRUTH = 'degraded', 'truth'  # folders of images beside those of the restorers
NETWORK_OPTIONS = ('network_g', 'pretrain_network_g', 'param_key_g', 'strict_load_g', 'scale', 'multiple')
CLASSICAL_OPTIONS = {'input': (), 'bicubic': (), 'fast_nl_means': ('h', 'h_color', 'template', 'search')}

# What options take, in words and as types; nothing at all (~) is always possible.
_PATHS = ('a path or a list of paths', (str, list))
_NUMBER = ('a number', (int, float))
_TAKES = {
    'type': ('a name', str), 'io_backend': ('options, such as {type: disk}', dict), 'dataroot_gt': _PATHS,
    'dataroot_lq': _PATHS, 'meta_info_file': ('a path', str), 'filename_tmpl': ('text', str),
    'network_g': ('options, such as {type: EDSR, ...}', dict), 'pretrain_network_g': ('a path', str),
    'param_key_g': ('a name', str), 'strict_load_g': ('true or false', bool), 'h': _NUMBER, 'h_color': _NUMBER,
    'template': _NUMBER, 'search': _NUMBER,
}
_FOLDER_NAME = re.compile(r'\w[\w .,+=()-]*')


@dataclass(frozen=True)
class PageOptions:
    """What bounds the size of the HTML page.

    Args:
        pictures: number of images of each test set, spread over it.
        max_side: longer side in pixels, above which an image is shrunk for the page.
        quality: of the WebP images, 1 to 100; 101 is lossless.
    """

    pictures: int = 8
    max_side: int = 512
    quality: int = 92

    def __post_init__(self) -> None:
        limits = {'pictures': (0, 10000), 'max_side': (16, 16383), 'quality': (1, 101)}
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if not isinstance(value, int) or not low <= value <= high:
                raise ValueError(f'page: {name} takes a whole number from {low} to {high}, not {value!r}')


@dataclass(frozen=True)
class Comparison:
    """The options file of a comparison, checked.

    Args:
        name: of the comparison, and of its folder below ``results``.
        datasets: options of each test set, as in the host's test options.
        restorers: options of each restorer, by the label that it has in the table.
        metrics: as ``val: metrics:`` in the host's options.
        page: what bounds the size of the HTML page.

    Raises:
        ValueError: options are missing, unknown or out of range; names them.
    """

    name: str
    datasets: dict[str, dict[str, Any]]
    restorers: dict[str, dict[str, Any]]
    metrics: dict[str, dict[str, Any]]
    page: PageOptions = field(default_factory=PageOptions)

    def __post_init__(self) -> None:
        for section in ('datasets', 'restorers', 'metrics'):
            entries = getattr(self, section)
            if not isinstance(entries, dict) or not entries:
                raise ValueError(f'{section} has to list at least one entry, as NAME: {{...}}')
            for name, options in entries.items():
                if not isinstance(options, dict):
                    raise ValueError(f'{section}: {name} takes options, not {options!r}')
                if not _FOLDER_NAME.fullmatch(name) or (section == 'restorers' and name in (DEGRADED, TRUTH)):
                    raise ValueError(f'{section}: {name!r} cannot be the name of a folder; use letters, digits, space '
                                     f'and -_+.,=() (in restorers not {DEGRADED} and {TRUTH}, which are taken)')
                _check_types(f'{section}: {name}: ', options)
        for name, options in self.datasets.items():
            if 'type' not in options:
                raise ValueError(f'datasets: {name}: type is missing, such as DegradationDataset')
        for label, options in self.restorers.items():
            _check_restorer(label, options)
        for name, options in self.metrics.items():
            if 'type' not in options:
                raise ValueError(f'metrics: {name}: type is missing, such as calculate_psnr')
            try:
                direction(options)
            except ValueError as error:
                raise ValueError(f'metrics: {name}: {error}') from error


def read_comparison(file: str | Path) -> Comparison:
    """Read an options file.

    Raises:
        ValueError: it is no YAML, or options are missing, unknown or out of range; names the file and them.
        FileNotFoundError: there is no such file.
    """
    if not Path(file).is_file():
        raise FileNotFoundError(f'{file}: there is no such options file')
    try:
        opt = yaml_load(str(file))
        tree = yaml.compose(Path(file).read_text(encoding='utf-8'), Loader=yaml.FullLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f'{file} is no YAML: {error}') from error
    try:
        if not isinstance(opt, dict):
            raise ValueError('holds no options')
        if repeated := [problem.what for problem in repeated_keys(tree)]:
            raise ValueError(' '.join(repeated))
        opt = {key: value for key, value in opt.items() if key != 'plugin'}  # imports the plugin into the host
        _check_keys('', opt, ('name', 'datasets', 'restorers', 'metrics', 'page'))
        page = opt.pop('page', None) or {}
        if not isinstance(page, dict):
            raise ValueError(f'page takes options, such as {{pictures: 8}}, not {page!r}')
        _check_keys('page: ', page, ('pictures', 'max_side', 'quality'))
        for key in ('name', 'datasets', 'restorers', 'metrics'):
            if key not in opt:
                raise ValueError(f'{key} is missing')
        sections = (_with_text_keys(opt[key]) for key in ('datasets', 'restorers', 'metrics'))
        return Comparison(str(opt['name']), *sections, PageOptions(**page))
    except ValueError as error:
        raise ValueError(f'{file}: {error}') from error


def _with_text_keys(section: Any) -> Any:
    """Turn names such as 2024, which YAML takes for numbers, into text."""
    return {str(name): options for name, options in section.items()} if isinstance(section, dict) else section


def _check_restorer(label: str, options: dict[str, Any]) -> None:
    where = f'restorers: {label}: '
    if 'type' not in options:
        if not {'network_g', 'pretrain_network_g'} & options.keys():
            raise ValueError(f'{where}set type: {" | ".join(CLASSICAL_OPTIONS)}, or a network by network_g and '
                             'pretrain_network_g')
        _check_keys(where, options, NETWORK_OPTIONS)
        return
    kind = options['type']
    if kind not in CLASSICAL_OPTIONS:
        raise ValueError(f'{where}there is no type {kind!r}{did_you_mean(kind, CLASSICAL_OPTIONS)} There are: '
                         f'{", ".join(CLASSICAL_OPTIONS)}; set network_g instead for a network')
    _check_keys(where, options, ('type', *CLASSICAL_OPTIONS[kind]))


def _check_types(where: str, options: dict[str, Any]) -> None:
    for key, value in options.items():
        words, types = _TAKES.get(key, ('', object))
        if value is not None and not isinstance(value, types):
            raise ValueError(f'{where}{key} takes {words}, not {value!r}')
        if key in ('scale', 'multiple') and (not isinstance(value, int) or value < 1):
            raise ValueError(f'{where}{key} takes a whole number from 1 up, not {value!r}')


def _check_keys(where: str, options: dict[str, Any], known: tuple[str, ...]) -> None:
    for key in options:
        if key not in known:
            raise ValueError(f'{where}unknown option {key!r}{did_you_mean(key, known)} It takes: {", ".join(known)}')
