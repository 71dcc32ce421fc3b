"""Check the classes and functions that options name under ``type``: whether they exist and take their arguments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from basicsr.utils.registry import ARCH_REGISTRY, DATASET_REGISTRY, LOSS_REGISTRY, MODEL_REGISTRY

from hifacegan_plugin.metrics.building import problems_of_metric
from hifacegan_plugin.models.lr_scheduler import SCHEDULERS, LinearDecayLR
from hifacegan_plugin.models.optimizers import OPTIMIZERS, SUPPLIED
from hifacegan_plugin.schema.problem import Problem
from hifacegan_plugin.schema.registered import problems_of_call, problems_of_name, registered_names


def problems_of_classes(opt: Mapping[str, Any]) -> Iterator[Problem]:
    """Find unknown classes and functions, and arguments that are missing, unknown or mistyped.

    Args:
        opt: options of a training or test, valid by the schema; a model may be built without data sets.
    """
    models, model_type = registered_names(MODEL_REGISTRY), opt['model_type']
    yield from problems_of_name('model_type', {'type': model_type}, models)
    for name, options in opt.get('datasets', {}).items():
        yield from problems_of_name(f'datasets: {name}', options, registered_names(DATASET_REGISTRY))
    for key, options in opt.items():
        if key.startswith('network_') and options is not None:
            yield from problems_of_call(key, options, registered_names(ARCH_REGISTRY))
    for key, options in (opt.get('train') or {}).items():
        if key.endswith('_opt') and options:
            yield from problems_of_call(f'train: {key}', options, registered_names(LOSS_REGISTRY))
        elif key.startswith('optim_') and options:
            yield from _problems_of_optimizer(f'train: {key}', options)
        elif key == 'scheduler':
            is_of_host = model_type in models and models[model_type].__module__.startswith('basicsr.')
            known = {name: kind for name, kind in SCHEDULERS.items() if kind is not LinearDecayLR or not is_of_host}
            yield from problems_of_call('train: scheduler', options, known, ('optimizer',))
    for name, options in ((opt.get('val') or {}).get('metrics') or {}).items():
        yield from problems_of_metric(f'val: metrics: {name}', options)


def _problems_of_optimizer(where: str, options: Any) -> Iterator[Problem]:
    problems = list(problems_of_call(where, options, OPTIMIZERS, SUPPLIED))
    yield from problems
    if not problems and options.get('lr') is None:
        yield Problem(f'{where}: lr is missing.', 'add it, such as lr: !!float 1e-4')
