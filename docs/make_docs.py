"""Generate the tables of options in docs/*.md and the JSON Schemas of options files. `make docs` runs this script."""

from __future__ import annotations

import dataclasses
import inspect
import json
import math
import re
from pathlib import Path
from typing import Any

import hifacegan_plugin
from hifacegan_plugin.schema import comparison, data, file, training
from hifacegan_plugin.schema.section import Section, default_of, in_words

FOLDER = Path(__file__).resolve().parent
SECTIONS: dict[str, type[Section]] = {
    'train': training.Train, 'val': file.ValOfTraining, 'path': file.Paths, 'logger': file.Logger,
    'loading': data.Loading, 'degradations': data.DegradationOptions, 'guides': data.GuideOptions,
    'network_restorer': comparison.NetworkRestorerOptions, 'recognised': comparison.RecognisedRestorerOptions,
    'results': comparison.FolderOptions, 'fast_nl_means': comparison.FastNlMeansOptions,
    'page': comparison.Page,
}  # fmt: skip
TABLE = re.compile(r'(<!-- options: (\w+), written by `make docs` -->\n).*?(?=<!-- end -->)', re.S)


def with_tables(page: str) -> str:
    """Return a page with updated tables."""
    return TABLE.sub(lambda match: match[1] + _table(match[2]), page)


def _table(name: str) -> str:
    rows = _steps() if name == 'steps' else _options(SECTIONS[name])
    return ''.join(f'| {" | ".join(row)} |\n' for row in rows)


def _options(section: type[Section]) -> list[tuple[str, ...]]:
    """Return the rows of a section's table. Options that all data sets have are in a separate table."""
    shared = data.Loading.model_fields if section is data.DegradationOptions else {}
    rows = [('option', 'takes', 'default', 'what it does'), ('---',) * 4]
    for name, field in section.model_fields.items():
        if name not in shared:
            default = '' if field.is_required() else default_of(field)
            rows.append(
                (
                    f'`{name}`',
                    in_words(field),
                    default and f'`{default}`' if default != 'none' else default,
                    str(field.description),
                )
            )
    return rows


def _steps() -> list[tuple[str, ...]]:
    """Return the rows of the table of degradation steps."""
    from hifacegan_plugin.data.degradations import DEGRADATIONS

    rows = [('step', 'options, their defaults and limits', 'what it does'), ('---',) * 3]
    for name, step in DEGRADATIONS.module_dict.items():
        summary = str(inspect.getdoc(step)).split('\n\n')[0].replace('\n', ' ').replace('``', '`')
        rows.append((f'`{name}`', '; '.join(map(_parameter, dataclasses.fields(step))), summary))
    return rows


def _parameter(field: dataclasses.Field[Any]) -> str:
    """Return an option of a step with its default and limits."""
    default = '' if field.default is dataclasses.MISSING else f': {_value(field.default)}'
    parameter = field.metadata.get('parameter')
    limits = ''
    if hasattr(parameter, 'among'):
        limits = f' ({", ".join(parameter.among)})'
    elif hasattr(parameter, 'at_least'):
        low, high = parameter.at_least, parameter.at_most
        limits = f' ({_value(low)} to {_value(high)})' if math.isfinite(high) else f' (from {_value(low)} up)'
        limits = limits if math.isfinite(low) else ''
    elif parameter:
        limits = ' (p)'
    return f'`{field.name}{default}`{limits}'


def _value(value: Any) -> str:
    if isinstance(value, tuple):
        return f'[{", ".join(map(_value, value))}]'
    if value is None:
        return '~'
    names = {math.pi: 'π', math.pi / 3: 'π/3'}
    return names.get(value, f'{value:g}') if isinstance(value, (int, float)) else str(value)


def schemas() -> dict[Path, str]:
    """Return the text of each JSON Schema, by path."""
    hifacegan_plugin.register()
    import json_schema

    return {
        json_schema.FOLDER / name: json.dumps(json_schema.schema_of(kind), indent=1, ensure_ascii=False) + '\n'
        for name, kind in json_schema.FILES.items()
    }


def main() -> None:
    """Write the tables and the schemas."""
    for page in FOLDER.glob('*.md'):
        page.write_text(with_tables(page.read_text(encoding='utf-8')), encoding='utf-8')
    for path, text in schemas().items():
        path.write_text(text, encoding='utf-8')


if __name__ == '__main__':
    main()
