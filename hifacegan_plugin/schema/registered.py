"""Check options for a registered class or function (``type`` and its arguments) against its signature."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import NoneType, UnionType
from typing import Any, get_args

from pydantic import ConfigDict, TypeAdapter, ValidationError

from hifacegan_plugin.schema.problem import Problem, did_you_mean
from hifacegan_plugin.schema.section import EXPONENTIAL, Whole

PLAIN = {int: (Whole, 'a whole number'), float: (float, 'a number'), bool: (bool, 'true or false'), str: (str, 'text')}


def registered_names(registry: Iterable[tuple[str, Callable[..., Any]]]) -> dict[str, Callable[..., Any]]:
    """Return the entries of a registry by all valid names; the host also finds ``NAME_basicsr`` as ``NAME``."""
    entries = dict(iter(registry))
    return {name.removesuffix('_basicsr'): entry for name, entry in entries.items()} | entries


def problems_of_name(where: str, options: Any, known: Iterable[str]) -> list[Problem]:
    """Find a missing or unknown name of a class or function.

    Args:
        where: the section, such as ``network_g``.
        options: ``type``, and the arguments.
        known: the valid values of ``type``.
    """
    names = sorted(known)
    fix = f'it is one of {", ".join(names)}'
    if not isinstance(options, Mapping) or 'type' not in options:
        return [Problem(f'{where}: type is missing.', fix)]
    kind = options['type']
    return [] if kind in names else [Problem(f'{where}: there is no {kind!r}{did_you_mean(kind, names)}', fix)]


def problems_of_call(
    where: str,
    options: Any,
    known: Mapping[str, Callable[..., Any]],
    supplied: tuple[str, ...] = (),
    makes_use_of_any: bool = True,
) -> Iterator[Problem]:
    """Find an unknown name and missing or unknown arguments; for the plugin's own classes, also wrong types.

    Args:
        where: the section, such as ``network_g``.
        options: ``type``, and the arguments.
        known: the valid values of ``type``.
        supplied: arguments that the caller sets.
        makes_use_of_any: whether a class or function with ``**kwargs`` uses any argument in them.
    """
    if unknown := problems_of_name(where, options, known):
        yield from unknown
        return
    kind = options['type']
    parameters, takes_any = arguments_of(known[kind], supplied)
    for key, value in options.items():
        if key in parameters:
            yield from _problems_of_value(f'{where}: {key}', value, parameters[key].annotation)
        elif key not in ('type', *supplied) and not (takes_any and makes_use_of_any):
            yield Problem(
                f'{where}: {kind} has no option {key!r}{did_you_mean(key, parameters)} '
                f'It takes: {", ".join(parameters)}.',
                'correct its name, or remove it',
            )
    for name, parameter in parameters.items():
        if parameter.default is parameter.empty and name not in options:
            yield Problem(f'{where}: {kind} needs {name}.', f'add {name}')


def arguments_of(called: Callable[..., Any], supplied: tuple[str, ...]) -> tuple[dict[str, inspect.Parameter], bool]:
    """Return the parameters that options may set, and whether options may set any others.

    Annotations are resolved for the plugin's own classes and left unresolved for other classes.
    """
    signature = inspect.signature(called, eval_str=called.__module__.startswith('hifacegan_plugin.'))
    every = [parameter for parameter in signature.parameters.values() if parameter.name not in supplied]
    named = {p.name: p for p in every if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
    return named, any(p.kind == p.VAR_KEYWORD for p in every)


def plain_type(hint: Any) -> type | None:
    """Return the type of an argument if it is in ``PLAIN``, also in a union with None; otherwise None."""
    kinds = [kind for kind in get_args(hint) if kind is not NoneType] if isinstance(hint, UnionType) else [hint]
    return kinds[0] if len(kinds) == 1 and kinds[0] in PLAIN else None


def _problems_of_value(where: str, value: Any, hint: Any) -> Iterator[Problem]:
    plain = plain_type(hint)
    if plain is None or (isinstance(value, str) and EXPONENTIAL.fullmatch(value)):
        return
    if value is None and hint is not plain:
        return
    kind, words = PLAIN[plain]
    try:
        TypeAdapter(kind, config=ConfigDict(strict=True)).validate_python(value)
    except ValidationError:
        yield Problem(f'{where}: give {words}, not {value!r}.', 'correct it')
