"""Options that name a class or a function of a registry and give its arguments: they go by its signature."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from hifacegan_plugin.schema.problem import Problem, did_you_mean
from hifacegan_plugin.schema.section import EXPONENTIAL, Whole

PLAIN = {int: (Whole, 'a whole number'), float: (float, 'a number'), bool: (bool, 'true or false'), str: (str, 'text')}


def problems_of_call(
    where: str, options: Any, known: Mapping[str, Callable[..., Any]],
    supplied: tuple[str, ...] | None = (),
) -> Iterator[Problem]:
    """Find a name that is not known, and arguments that are missing, unknown or, of a plugin's own class, mistyped.

    Args:
        where: the section, such as ``network_g``.
        options: ``type``, and the arguments.
        known: what ``type`` may be.
        supplied: arguments that come from elsewhere; None where the options are handed over as a whole.
    """
    if not isinstance(options, Mapping) or 'type' not in options:
        yield Problem(f'{where}: type is missing.', f'it is one of {", ".join(sorted(known))}')
        return
    kind = options['type']
    if not isinstance(kind, str) or kind not in known:
        yield Problem(f'{where}: there is no {kind!r}{did_you_mean(kind, known)}',
                      f'it is one of {", ".join(sorted(known))}')
        return
    if supplied is None:
        return
    called = known[kind]
    parameters = inspect.signature(called).parameters
    takes = [name for name, p in parameters.items() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    takes_any = any(p.kind == p.VAR_KEYWORD for p in parameters.values())
    own = [name for name in takes if name not in supplied]
    for key, value in options.items():
        if key == 'type':
            continue
        if key not in takes and not takes_any:
            yield Problem(f'{where}: {kind} has no option {key!r}{did_you_mean(key, own)} It takes: {", ".join(own)}.',
                          'correct its name, or take it out')
        elif called.__module__.startswith('hifacegan_plugin.'):
            yield from _problems_of_value(f'{where}: {key}', value, _type_hints(called).get(key))
    for name in own:
        if parameters[name].default is inspect.Parameter.empty and name not in options:
            yield Problem(f'{where}: {kind} needs {name}.', f'add {name}')


def _type_hints(called: Callable[..., Any]) -> dict[str, Any]:
    return get_type_hints(called.__init__ if inspect.isclass(called) else called)


def _problems_of_value(where: str, value: Any, hint: Any) -> Iterator[Problem]:
    if hint not in PLAIN or (isinstance(value, str) and EXPONENTIAL.fullmatch(value)):
        return
    kind, words = PLAIN[hint]
    try:
        TypeAdapter(kind, config=ConfigDict(strict=True)).validate_python(value)
    except ValidationError:
        yield Problem(f'{where}: give {words}, not {value!r}.', 'correct it')
