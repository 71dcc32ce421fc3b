"""Generate the JSON Schemas of options files for completion and checks in editors; ``make docs`` writes them."""

from __future__ import annotations

import dataclasses
import inspect
from pathlib import Path
from typing import Any

from basicsr.utils.registry import ARCH_REGISTRY, LOSS_REGISTRY

from hifacegan_plugin import schema
from hifacegan_plugin.data.degradations import DEGRADATIONS, RECIPES
from hifacegan_plugin.data.degradations.registry import Chance, Choice, Integer, Uniform
from hifacegan_plugin.metrics.building import SUPPLIED, metric_functions
from hifacegan_plugin.metrics.metric import METRIC_OPTIONS
from hifacegan_plugin.models.lr_scheduler import LinearDecayLR
from hifacegan_plugin.schema.comparison import ComparisonFile
from hifacegan_plugin.schema.file import MetricOptions, TestFile, TrainingFile
from hifacegan_plugin.schema.registered import arguments_of, plain_type
from hifacegan_plugin.schema.section import Section

FOLDER = Path(schema.__file__).parent
FILES: dict[str, type[Section]] = {
    'training.schema.json': TrainingFile, 'test.schema.json': TestFile, 'comparison.schema.json': ComparisonFile,
}  # fmt: skip
NETWORK, LOSS, METRIC, SCHEDULER, DEGRADATION = 'Network', 'Loss', 'MetricFunction', 'Scheduler', 'Degradation'
REFERENCES = {  # definitions of options that have a registered class or function as their type
    'network_g': NETWORK, 'network_d': NETWORK, 'scheduler': SCHEDULER, 'degradation': DEGRADATION,
    'pixel_opt': LOSS, 'perceptual_opt': LOSS, 'gan_opt': LOSS, 'feature_matching_opt': LOSS,
}  # fmt: skip


def schema_of(file: type[Section]) -> dict[str, Any]:
    """Return the JSON Schema of a kind of options file."""
    described = file.model_json_schema()
    definitions = described['$defs']
    for section in (described, *definitions.values()):
        section.pop('title', None)
        for name, option in section.get('properties', {}).items():
            _tidy(option)
            if name in REFERENCES:
                _refer(option, REFERENCES[name])
    definitions[MetricOptions.__name__]['allOf'] = [{'$ref': f'#/$defs/{METRIC}'}]
    definitions |= {
        NETWORK: _by_signature(dict(iter(ARCH_REGISTRY)), ()),
        LOSS: _by_signature(dict(iter(LOSS_REGISTRY)), ()),
        METRIC: _by_signature(metric_functions(), SUPPLIED),
        SCHEDULER: _by_signature({LinearDecayLR.__name__: LinearDecayLR}, ('optimizer', 'last_epoch')),
        DEGRADATION: _degradation(),
    }
    return {'$schema': 'https://json-schema.org/draft/2020-12/schema', 'title': inspect.getdoc(file), **described}


def _tidy(option: dict[str, Any]) -> None:
    """Remove what editors do not show."""
    option.pop('title', None)
    option.pop('takes', None)
    if unit := option.pop('unit', ''):
        option['description'] += f' ({unit})'


def _refer(option: dict[str, Any], name: str) -> None:
    """Make an option refer to a definition; it may still be null if it was optional."""
    reference = {'$ref': f'#/$defs/{name}'}
    optional = {'type': 'null'} in option.pop('anyOf', [])
    option.pop('$ref', None)
    option.update({'anyOf': [reference, {'type': 'null'}]} if optional else reference)


def _by_signature(registered: dict[str, Any], supplied: tuple[str, ...]) -> dict[str, Any]:
    """Describe the arguments of the plugin's classes and functions. Those of others may have any arguments."""
    return _by_type({name: _arguments(called, supplied) for name, called in _own(registered).items()})


def _own(registered: dict[str, Any]) -> dict[str, Any]:
    """Return the classes and functions of the plugin."""
    return {
        name: called for name, called in sorted(registered.items()) if called.__module__.startswith('hifacegan_plugin.')
    }


def _by_type(described: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Describe options that depend on ``type``. With an unknown type, any options are valid."""
    return {
        'type': 'object',
        'properties': {'type': {'anyOf': [{'enum': list(described)}, {'type': 'string'}]}},
        'required': ['type'],
        'allOf': [{'if': {'properties': {'type': {'const': name}}, 'required': ['type']}, 'then': options}
                  for name, options in described.items()],
    }  # fmt: skip


def _arguments(called: Any, supplied: tuple[str, ...]) -> dict[str, Any]:
    parameters, takes_any = arguments_of(called, supplied)
    types = {int: 'integer', float: 'number', bool: 'boolean', str: 'string'}
    properties: dict[str, Any] = {key: {} for key in (METRIC_OPTIONS if supplied == SUPPLIED else ['type'])}
    for name, parameter in parameters.items():
        properties[name] = {}
        if plain := plain_type(parameter.annotation):
            properties[name] = {'type': types[plain] if plain is parameter.annotation else [types[plain], 'null']}
        if parameter.default not in (parameter.empty, None):
            properties[name]['default'] = parameter.default
    required = [name for name, parameter in parameters.items() if parameter.default is parameter.empty]
    return {'properties': properties, 'required': required, 'additionalProperties': takes_any}


def _degradation() -> dict[str, Any]:
    """Describe recipes: a name, a step, or a list of them."""
    return {'anyOf': [
        {'enum': list(RECIPES)},
        _by_type({name: _step(step) for name, step in _own(DEGRADATIONS.module_dict).items()}),
        {'type': 'array', 'items': {'$ref': f'#/$defs/{DEGRADATION}'}},
    ]}  # fmt: skip


def _step(step: type[Any]) -> dict[str, Any]:
    properties = {'type': {}} | {field.name: _parameter(field) for field in dataclasses.fields(step)}
    required = [field.name for field in dataclasses.fields(step) if field.default is dataclasses.MISSING]
    summary = str(inspect.getdoc(step)).partition('\n\n')[0].replace('\n', ' ')
    return {'description': summary, 'properties': properties, 'required': required, 'additionalProperties': False}


def _parameter(field: dataclasses.Field[Any]) -> dict[str, Any]:
    """Describe a parameter of a step: a value, or a range to draw it from."""
    match field.metadata.get('parameter'):
        case Uniform() as drawn:
            limits = {'minimum': drawn.at_least, 'maximum': drawn.at_most}
            one = {'type': 'integer' if isinstance(drawn, Integer) else 'number'}
            one |= {name: limit for name, limit in limits.items() if abs(limit) != float('inf')}
            return {'anyOf': [one, {'type': 'array', 'items': one, 'minItems': 2, 'maxItems': 2}]}
        case Choice(among=among):
            one = {'enum': list(among)}
            return {'anyOf': [one, {'type': 'array', 'items': one, 'minItems': 1}]}
        case Chance():
            return {'type': 'number', 'minimum': 0, 'maximum': 1}
    if field.name == 'steps':
        return {'type': 'array', 'items': {'$ref': f'#/$defs/{DEGRADATION}'}}
    return {'type': ['array', 'null'], 'items': {'type': 'number', 'minimum': 0}}  # the weights of a choice
