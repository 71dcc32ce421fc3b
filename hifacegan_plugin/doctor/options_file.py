"""The options file as it is written: what YAML makes of it, what is missing, what nobody knows."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml
from basicsr.utils.options import yaml_load
from basicsr.utils.registry import ARCH_REGISTRY, DATASET_REGISTRY, LOSS_REGISTRY, METRIC_REGISTRY, MODEL_REGISTRY

from hifacegan_plugin.data.degradations.registry import did_you_mean, is_number
from hifacegan_plugin.doctor.finding import Finding
from hifacegan_plugin.metrics.fid import inception_features
from hifacegan_plugin.metrics.measure import FID, HOST_KEYS
from hifacegan_plugin.models import HiFaceGANCSRModel
from hifacegan_plugin.models.lr_scheduler import SCHEDULERS, LinearDecayLR
from hifacegan_plugin.models.option_checks import TRAIN_OPTIONS

PLUGIN_LINE = 'plugin: !!python/name:hifacegan_plugin.__version__'

# What the host reads without asking whether it is there.
REQUIRED = ('name', 'model_type', 'num_gpu', 'datasets', 'network_g', 'path')
REQUIRED_IN_TRAINING = (
    'datasets.train', 'datasets.train.name', 'datasets.train.num_worker_per_gpu', 'datasets.train.batch_size_per_gpu',
    'train.total_iter', 'train.optim_g', 'train.scheduler', 'logger.print_freq', 'logger.save_checkpoint_freq',
    'logger.use_tb_logger',
)
REQUIRED_IN_VALIDATION = ('val.val_freq', 'val.save_img')
REQUIRED_IN_TEST = ('val.save_img',)
SECTIONS = ('datasets', 'network_g', 'network_d', 'path', 'train', 'val', 'logger', 'dist_params')
KNOWN = (*SECTIONS, 'name', 'model_type', 'scale', 'num_gpu', 'manual_seed', 'find_unused_parameters')

# What the host, the model and the doctor count with: whole numbers or any, and the least that they take.
NUMBERS = {
    'train.total_iter': (int, 1), 'train.scheduler.end_iter': (int, 1), 'train.accumulate_iters': (int, 1),
    'train.keep_last': (int, 0), 'logger.print_freq': (int, 1), 'logger.save_checkpoint_freq': (int, 1),
    'val.val_freq': (int, 1), 'datasets.train.gt_size': (int, 1), 'datasets.train.batch_size_per_gpu': (int, 1),
    'datasets.train.num_worker_per_gpu': (int, 0), 'datasets.train.dataset_enlarge_ratio': (float, 0),
}
EXPONENTIAL = re.compile(r'[+-]?\d+(\.\d*)?[eE][+-]?\d+')  # without a point or a sign, YAML takes it for text

OPTIMIZERS = ('Adam', 'AdamW', 'Adamax', 'SGD', 'ASGD', 'RMSprop', 'Rprop')  # as the host knows them


class Named(NamedTuple):
    """A part of the options that names a class or function under ``type`` and gives its arguments beside it."""

    where: str
    options: Any
    known: Mapping[str, Any]  # what the name may be
    supplied: tuple[str, ...] | None = ()  # arguments that come from elsewhere; None: the options go as a whole


def read_options(file: Path) -> tuple[dict[str, Any], list[Finding]]:
    """Read an options file as the host does; empty where that is not possible."""
    if not file.is_file():
        return {}, [Finding(f'{file} does not exist.', 'check the path; training is started in the same folder')]
    try:
        text = file.read_text(encoding='utf-8')
        tree = yaml.compose(text, Loader=yaml.FullLoader)
        options = yaml_load(str(file))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        return {}, [Finding(f'{file} cannot be read as YAML: {error}',
                            'mind indentation, colons and the modules that python/name lines name')]
    if not isinstance(options, dict):
        return {}, [Finding(f'{file} holds no options.', 'begin with one of the files in options/')]
    return options, [*check_repeated_keys(tree), *check_plugin_line(tree)]


def check_options(opt: dict[str, Any]) -> Iterator[Finding]:
    """Check options as they are written, before the host works on them."""
    structure = [*check_sections(opt), *check_required(opt), *check_types(opt)]
    yield from structure
    yield from check_top_level(opt)
    yield from check_numbers(opt)
    if any(finding.stops for finding in structure):
        return
    for named in all_named(opt):
        yield from check_named(named)
    if opt['model_type'] == HiFaceGANCSRModel.__name__ and 'train' in opt:
        yield from check_train_keys(opt)


def check_repeated_keys(node: yaml.Node, where: str = '') -> Iterator[Finding]:
    """Find keys that stand twice in a section, of which YAML keeps the last."""
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from check_repeated_keys(item, where)
    if not isinstance(node, yaml.MappingNode):
        return
    seen: dict[str, int] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        if key.value in seen:
            yield Finding(f'{where}{key.value} stands twice, in lines {seen[key.value]} and {line}: the first one is '
                          'lost.', 'take one of them out')
        seen[key.value] = line
        yield from check_repeated_keys(value, f'{where}{key.value}: ')


def check_plugin_line(tree: yaml.MappingNode) -> Iterator[Finding]:
    """Check that the file imports the plugin into the host."""
    if not any(re.search(r'python/(name|module):hifacegan_plugin\b', value.tag) for _, value in tree.value):
        yield Finding('Nothing in the file imports the plugin into the host, which then does not know its names.',
                      f'put this line first: {PLUGIN_LINE}')


def check_sections(opt: dict[str, Any]) -> Iterator[Finding]:
    """Check that sections are sections."""
    sections = {name: opt[name] for name in SECTIONS if opt.get(name) is not None}  # see check_required for the rest
    for phase, options in _entries(opt, 'datasets').items():
        sections[f'datasets: {phase}'] = options
        if isinstance(options, dict) and options.get('io_backend') is not None:
            sections[f'datasets: {phase}: io_backend'] = options['io_backend']
    if _value_at(opt, 'val.metrics') is not None:
        sections['val: metrics'] = opt['val']['metrics']
        sections |= {f'val: metrics: {name}': options for name, options in _entries(opt['val'], 'metrics').items()}
    for name, value in sections.items():
        if not isinstance(value, dict):
            yield Finding(f'{name} is no section with options of its own, but {value!r}.',
                          'indent its options below it, or take it out')


def check_required(opt: dict[str, Any]) -> Iterator[Finding]:
    """Find what the host would stop for with a bare KeyError."""
    required = REQUIRED
    if 'train' in opt:
        required += REQUIRED_IN_TRAINING + (REQUIRED_IN_VALIDATION if opt.get('val') else ())
    else:
        required += REQUIRED_IN_TEST
    for dotted in required:
        if _value_at(opt, dotted) is None:
            yield Finding(f'{dotted.replace(".", ": ")} is missing.', 'the files in options/ show what goes there')


def check_types(opt: dict[str, Any]) -> Iterator[Finding]:
    """Find what is no number, path or name where one is counted on."""
    for dotted, (kind, least) in NUMBERS.items():
        value = _value_at(opt, dotted)
        if value is None or (isinstance(value, str) and EXPONENTIAL.fullmatch(value)):  # see check_numbers
            continue
        if not (is_number(value) and value >= least) or (kind is int and not float(value).is_integer()):
            yield Finding(f'{dotted.replace(".", ": ")}: {value!r} is no {"whole " if kind is int else ""}number from '
                          f'{least} up.', 'write one number, in digits without commas')
    texts = {f'path: {key}': value for key, value in _entries(opt, 'path').items() if is_path_of_file(key)}
    for name, value in {**texts, 'train: keep_best': _value_at(opt, 'train.keep_best')}.items():
        if value is not None and not isinstance(value, str):
            yield Finding(f'{name} takes one name, not {value!r}.', 'name one, or write ~')


def is_path_of_file(key: str) -> bool:
    """Tell whether an option under ``path`` names weights or a state."""
    return key.startswith('pretrain_') or key == 'resume_state'


def _value_at(opt: dict[str, Any], dotted: str) -> Any:
    """Give an option by the names of its sections and its own; None where it is not set."""
    value: Any = opt
    for key in dotted.split('.'):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _entries(opt: dict[str, Any], section: str) -> dict[str, Any]:
    """Give the options of a section; none where it is no section."""
    return opt[section] if isinstance(opt.get(section), dict) else {}


def check_top_level(opt: dict[str, Any]) -> Iterator[Finding]:
    """Find sections that look like a slip of the pen."""
    for key in opt:
        likely = did_you_mean(key, KNOWN)
        if key not in KNOWN and likely != '.' and not str(key).startswith('network_'):
            yield Finding(f'{key} is no section that anybody reads{likely}', 'correct it, or take it out', stops=False)


def check_numbers(options: Any, where: str = '') -> Iterator[Finding]:
    """Find numbers such as 1e-4, which YAML takes for text."""
    entries = options.items() if isinstance(options, dict) else enumerate(options) if isinstance(options, list) else ()
    for key, value in entries:
        if isinstance(value, str) and EXPONENTIAL.fullmatch(value):
            yield Finding(f'{where}{key}: {value} is text to YAML, not a number.', f'write !!float {value}')
        yield from check_numbers(value, f'{where}{key}: ')


def all_named(opt: dict[str, Any]) -> Iterator[Named]:
    """List every part of the options that names something."""
    yield Named('model_type', {'type': opt['model_type']}, dict(iter(MODEL_REGISTRY)), None)
    for key, options in opt.items():
        if key.startswith('network_') and options is not None:
            yield Named(key, options, dict(iter(ARCH_REGISTRY)))
    for phase, options in opt['datasets'].items():
        yield Named(f'datasets: {phase}', options, dict(iter(DATASET_REGISTRY)), None)
    train = opt.get('train', {})
    schedulers = dict(SCHEDULERS)
    if opt['model_type'] != HiFaceGANCSRModel.__name__:
        del schedulers[LinearDecayLR.__name__]  # the host's models do not know it
    for key, options in train.items():
        if key.endswith('_opt') and options:
            yield Named(f'train: {key}', options, dict(iter(LOSS_REGISTRY)))
        elif key.startswith('optim_'):
            optimizers = {name: getattr(torch.optim, name) for name in OPTIMIZERS}
            yield Named(f'train: {key}', options, optimizers, ('params',))
        elif key == 'scheduler':
            yield Named('train: scheduler', options, schedulers, ('optimizer',))
    metrics = dict(iter(METRIC_REGISTRY)) | {FID: inception_features}
    for name, options in ((opt.get('val') or {}).get('metrics') or {}).items():
        arguments = {key: value for key, value in options.items() if key == 'type' or key not in HOST_KEYS}
        yield Named(f'val: metrics: {name}', arguments, metrics, ('img', 'img2'))


def check_named(named: Named) -> Iterator[Finding]:
    """Check that the name is known and its arguments fit."""
    where, options, known, supplied = named
    if not isinstance(options, dict) or 'type' not in options:
        yield Finding(f'{where}: type is missing.', f'it is one of {", ".join(sorted(known))}')
        return
    kind = options['type']
    if kind not in known:
        yield Finding(f'{where}: there is no {kind!r}{did_you_mean(kind, known)}',
                      f'it is one of {", ".join(sorted(known))}')
    elif supplied is not None:
        parameters = inspect.signature(known[kind]).parameters
        takes = [name for name, p in parameters.items() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
        takes_any = any(p.kind == p.VAR_KEYWORD for p in parameters.values())
        for key in options:
            if key != 'type' and key not in takes and not takes_any:
                yield Finding(f'{where}: {kind} has no option {key!r}{did_you_mean(key, takes)}',
                              f'it takes {", ".join(name for name in takes if name not in supplied)}')
        for name in takes:
            if parameters[name].default is inspect.Parameter.empty and name not in (*options, *supplied):
                yield Finding(f'{where}: {kind} needs {name}.', f'add {name}')


def check_train_keys(opt: dict[str, Any]) -> Iterator[Finding]:
    """Find options under ``train`` that the model does not know, and so leaves without effect."""
    for key in opt['train']:
        if key not in TRAIN_OPTIONS:
            yield Finding(f'train: {key} is no option of {HiFaceGANCSRModel.__name__} and has no effect'
                          f'{did_you_mean(key, TRAIN_OPTIONS)}', 'docs/training.md lists them', stops=False)
