"""Read an options file, and find mistakes that YAML accepts silently."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from hifacegan_plugin.schema.problem import Problem
from hifacegan_plugin.schema.section import EXPONENTIAL, not_a_number

PLUGIN_LINE = 'plugin: !!python/name:hifacegan_plugin.__version__'


def read_options(file: Path) -> tuple[dict[str, Any], list[Problem]]:
    """Read an options file as the host does; lines such as ``plugin:`` import modules.

    Returns:
        The options, and problems. Options are empty if the file cannot be read.
    """
    try:
        text = file.read_text(encoding='utf-8')
        options = yaml.load(text, Loader=yaml.Loader)
        repeated = list(repeated_keys(yaml.compose(text, Loader=yaml.Loader)))
    except OSError as error:
        fix = 'check the path, which is relative to the current folder'
        return {}, [Problem(f'{file} cannot be read: {error.strerror}.', fix)]
    except UnicodeDecodeError as error:
        return {}, [Problem(f'{file} is not text in UTF-8: {error}', 'save it as UTF-8')]
    except Exception as error:  # YAML errors, invalid dates, sections that contain themselves, imported modules
        fix = 'check the indentation, the colons and the modules in python/name lines'
        return {}, [Problem(f'{file} cannot be read as YAML: {error}', fix)]
    if not isinstance(options, dict) or not options:
        return {}, [Problem(f'{file} holds no options.', 'begin with one of the files in options/')]
    return options, repeated


def repeated_keys(node: yaml.Node | None, where: str = '') -> Iterator[Problem]:
    """Find keys that a section contains twice; YAML keeps only the last one."""
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
                f'{where}{key.value} occurs twice, in lines {seen[key.value]} and {line}: the first one is ignored.',
                'remove one of them',
            )
        seen[key.value] = line
        yield from repeated_keys(value, f'{where}{key.value}: ')


def numbers_as_text(options: Any, where: str = '') -> Iterator[Problem]:
    """Find numbers such as 1e-4, which YAML reads as text."""
    entries = options.items() if isinstance(options, dict) else enumerate(options) if isinstance(options, list) else ()
    for key, value in entries:
        path = f'{where}: {key}' if where else f'{key}'
        if isinstance(value, str) and EXPONENTIAL.fullmatch(value):
            what, fix = not_a_number(value)
            yield Problem(f'{path}{what}', fix)
        yield from numbers_as_text(value, path)
