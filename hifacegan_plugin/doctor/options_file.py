"""Check an options file as written: the import of the plugin, the options, and the registered names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from basicsr.utils.registry import MODEL_REGISTRY

from hifacegan_plugin.models import HiFaceGANCSRModel
from hifacegan_plugin.models.named_classes import problems_of_classes
from hifacegan_plugin.schema.file import problems_of_file
from hifacegan_plugin.schema.problem import Problem
from hifacegan_plugin.schema.reading import PLUGIN_LINE
from hifacegan_plugin.schema.registered import registered_names


def check_plugin_line(file: Path) -> Iterator[Problem]:
    """Check that an options file imports the plugin into the host."""
    options: Any = yaml.compose(file.read_text(encoding='utf-8'), Loader=yaml.Loader)
    if not any(re.search(r'python/(name|module):hifacegan_plugin\b', value.tag) for _, value in options.value):
        yield Problem(
            'Nothing in the file imports the plugin, so its classes are not registered with the host.',
            f'put this line first: {PLUGIN_LINE}',
        )


def check_options(opt: dict[str, Any]) -> Iterator[Problem]:
    """Check options as written, before the host changes them."""
    problems = problems_of_file(opt)
    yield from problems
    if not any(problem.stops for problem in problems):
        yield from problems_of_classes(opt)
        for name, options in ((opt.get('val') or {}).get('metrics') or {}).items():
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
