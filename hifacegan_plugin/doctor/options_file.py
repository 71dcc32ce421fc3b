"""Check an options file as written: the import of the plugin, the options, and the registered names."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import yaml
from basicsr.utils.registry import ARCH_REGISTRY, DATASET_REGISTRY, LOSS_REGISTRY, MODEL_REGISTRY

from hifacegan_plugin.metrics.building import problems_of_metric
from hifacegan_plugin.models import HiFaceGANCSRModel
from hifacegan_plugin.models.lr_scheduler import SCHEDULERS, LinearDecayLR
from hifacegan_plugin.models.optimizers import OPTIMIZERS, SUPPLIED
from hifacegan_plugin.schema.file import problems_of_file
from hifacegan_plugin.schema.problem import Problem
from hifacegan_plugin.schema.reading import PLUGIN_LINE
from hifacegan_plugin.schema.registered import problems_of_call, registered_names


class Call(NamedTuple):
    """Arguments of :func:`problems_of_call`, for options that name a class or function under ``type``."""

    where: str
    options: Mapping[str, Any]
    known: Mapping[str, Callable[..., Any]]
    supplied: tuple[str, ...] | None = ()


def check_plugin_line(tree: yaml.Node | None) -> Iterator[Problem]:
    """Check that an options file imports the plugin into the host."""
    if isinstance(tree, yaml.MappingNode) and not any(
        re.search(r'python/(name|module):hifacegan_plugin\b', value.tag) for _, value in tree.value
    ):
        yield Problem(
            'Nothing in the file imports the plugin, so its classes are not registered with the host.',
            f'put this line first: {PLUGIN_LINE}',
        )


def check_options(opt: dict[str, Any]) -> Iterator[Problem]:
    """Check options as written, before the host changes them."""
    problems = problems_of_file(opt)
    yield from problems
    if not any(problem.stops for problem in problems):
        for call in all_calls(opt):
            yield from problems_of_call(*call)
        for name, options in ((opt.get('val') or {}).get('metrics') or {}).items():
            yield from problems_of_metric(f'val: metrics: {name}', options)
            yield from check_region(f'val: metrics: {name}', options, opt['model_type'])


def check_region(where: str, options: Any, model_type: str) -> Iterator[Problem]:
    """Find a metric's region that the model would ignore."""
    model = registered_names(MODEL_REGISTRY).get(model_type)
    knows = not isinstance(model, type) or issubclass(model, HiFaceGANCSRModel)
    if not knows and isinstance(options, Mapping) and options.get('region'):
        yield Problem(
            f'{where}: {model_type} ignores region and measures the whole image.',
            f'remove region; only {HiFaceGANCSRModel.__name__} and `hifacegan compare` support it',
        )


def all_calls(opt: dict[str, Any]) -> Iterator[Call]:
    """Yield all options that name a class or function."""
    yield Call('model_type', {'type': opt['model_type']}, registered_names(MODEL_REGISTRY), None)
    for key, options in opt.items():
        if key.startswith('network_') and options is not None:
            yield Call(key, options, registered_names(ARCH_REGISTRY))
    for phase, options in opt['datasets'].items():
        yield Call(f'datasets: {phase}', options, registered_names(DATASET_REGISTRY), None)
    train = opt.get('train', {})
    schedulers = dict(SCHEDULERS)
    if opt['model_type'] != HiFaceGANCSRModel.__name__:
        del schedulers[LinearDecayLR.__name__]  # unknown to the host's models
    for key, options in train.items():
        if key.endswith('_opt') and options:
            yield Call(f'train: {key}', options, registered_names(LOSS_REGISTRY))
        elif key.startswith('optim_') and options:
            yield Call(f'train: {key}', options, OPTIMIZERS, SUPPLIED)
        elif key == 'scheduler':
            yield Call('train: scheduler', options, schedulers, ('optimizer',))
