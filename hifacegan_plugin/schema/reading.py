"""Reading an options file: what YAML makes of it, and what YAML makes of it without a word."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from hifacegan_plugin.schema.problem import Problem
from hifacegan_plugin.schema.section import EXPONENTIAL, not_a_number

PLUGIN_LINE = 'plugin: !!python/name:hifacegan_plugin.__version__'


def read_options(file: Path) -> tuple[dict[str, Any], yaml.Node | None, list[Problem]]:
    """Read an options file as the host does, whose lines may import modules.

    Returns:
        The options and their YAML nodes, and what is wrong; without options where they cannot be read.
    """
    try:
        text = file.read_text(encoding='utf-8')
        tree = yaml.compose(text, Loader=yaml.Loader)
        options = yaml.load(text, Loader=yaml.Loader)
        repeated = list(repeated_keys(tree))
    except OSError as error:
        fix = 'check the path; training is started in the same folder'
        return {}, None, [Problem(f'{file} cannot be read: {error.strerror}.', fix)]
    except Exception as error:  # of YAML, a date that is none, a section in itself, a module that a line imports
        fix = 'mind indentation, colons and the modules that python/name lines name'
        return {}, None, [Problem(f'{file} cannot be read as YAML: {error}', fix)]
    if not isinstance(options, dict) or tree is None:
        return {}, None, [Problem(f'{file} holds no options.', 'begin with one of the files in options/')]
    return options, tree, repeated


def repeated_keys(node: yaml.Node | None, where: str = '') -> Iterator[Problem]:
    """Find keys that stand twice in a section, of which YAML keeps the last."""
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from repeated_keys(item, where)
    if not isinstance(node, yaml.MappingNode):
        return
    seen: dict[str, int] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        if key.value in seen:
            yield Problem(
                f'{where}{key.value} stands twice, in lines {seen[key.value]} and {line}: the first one is lost.',
                'take one of them out',
            )
        seen[key.value] = line
        yield from repeated_keys(value, f'{where}{key.value}: ')


def numbers_as_text(options: Any, where: str = '') -> Iterator[Problem]:
    """Find numbers such as 1e-4, which YAML takes for text."""
    entries = options.items() if isinstance(options, dict) else enumerate(options) if isinstance(options, list) else ()
    for key, value in entries:
        path = f'{where}: {key}' if where else f'{key}'
        if isinstance(value, str) and EXPONENTIAL.fullmatch(value):
            what, fix = not_a_number(value)
            yield Problem(f'{path}{what}', fix)
        yield from numbers_as_text(value, path)
