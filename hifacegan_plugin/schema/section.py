"""Base class of all sections of options files, and the messages for wrong options."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import chain
from types import NoneType
from typing import Annotated, Any, ClassVar, Literal, TypeVar, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import InitErrorDetails, PydanticCustomError

from hifacegan_plugin.schema.problem import Problem, did_you_mean, raise_first

SEE_EXAMPLES = 'see the files in options/ for an example'
EXPONENTIAL = re.compile(r'[+-]?\d+(\.\d*)?[eE][+-]?\d+')  # text to YAML if the point or the sign is missing
VARIANT = 'variant of '  # prefix of union tags, which are left out of the paths in messages

Value = TypeVar('Value')


def _whole(value: Any) -> Any:
    """Turn 25e3, which YAML reads as a float, into an integer."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Whole = Annotated[int, BeforeValidator(_whole)]
FromZero = Annotated[int, Field(ge=0), BeforeValidator(_whole)]
Count = Annotated[int, Field(ge=1), BeforeValidator(_whole)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Switch = Annotated[bool | None, AfterValidator(bool)]  # ~ means false


def option(help: str, default: Any = ..., *, takes: str = '', unit: str = '') -> Any:
    """Declare an option of a section.

    Args:
        help: one line, for the docs and for editors.
        default: value of an option that is not set; an option without a default is required.
        takes: the valid values, in words; by default, made from the type and the limits.
        unit: unit of a number.
    """
    return Field(default, description=help, json_schema_extra={'takes': takes, 'unit': unit})


class Section(BaseModel):
    """A group of options. Subclasses declare each option with :func:`option`.

    Values are not converted: text and ``true`` are not accepted as numbers. The context of every error in a
    ValidationError contains the fields of a :class:`Problem`.
    """

    model_config = ConfigDict(extra='forbid', strict=True, frozen=True)
    unknown_stops: ClassVar[bool] = True  # whether an undeclared option is refused; if not, it is ignored

    def conflicts(self) -> Iterator[str]:
        """Yield a message for each contradiction between options."""
        yield from ()

    @model_validator(mode='wrap')
    @classmethod
    def _explain(cls, value: Any, handler: ModelWrapValidatorHandler[Any]) -> Any:
        if isinstance(value, Mapping):  # a required option that is empty (~) counts as missing
            value = {k: v for k, v in value.items() if v is not None or not _is_required(cls.model_fields.get(k))}
        try:
            section = handler(value)
        except ValidationError as error:
            details = list(cls._in_words(error, value))
        else:
            details = [_detail((), value, f': {text}', 'correct one of them') for text in section.conflicts()]
        if details:
            raise ValidationError.from_exception_data(cls.__name__, details)
        return section

    @classmethod
    def _in_words(cls, error: ValidationError, section: Any) -> Iterator[InitErrorDetails]:
        """Explain each wrong option once, even if pydantic reports several errors for parts of its value."""
        explained = set()
        for detail in error.errors():
            location = detail['loc']
            if detail['type'] == 'option':  # from a section inside this one
                yield _detail(location, detail['input'], *detail['ctx'].values())
            elif not location:
                yield _detail((), section, *_not_a_section(section))
            elif detail['type'] == 'invalid_key':
                yield _detail((), section, *_not_text(detail['input'], 'it is not an option'))
            elif location[-1] == '[key]':  # in a section with names chosen by the user
                yield _detail(location[:1], section, *_not_text(location[1], 'it is not a name'))
            elif location[0] not in explained:
                explained.add(location[0])
                yield cls._of_option(str(location[0]), detail['type'], section)

    @classmethod
    def _of_option(cls, name: str, kind: str, section: Mapping[str, Any]) -> InitErrorDetails:
        field, known = cls.model_fields.get(name), list(cls.model_fields)
        if kind == 'extra_forbidden':
            what = f': unknown option {name!r}{did_you_mean(name, known)} It takes: {", ".join(known)}.'
            return _detail((), section, what, 'correct its name, or remove it', cls.unknown_stops, unknown=name)
        if kind == 'missing' and field:
            fix = SEE_EXAMPLES if _is_section(field.annotation) else f'add it: {in_words(field)}'
            return _detail((name,), section, ' is missing.', fix)
        value = section[name]
        if isinstance(value, str) and EXPONENTIAL.fullmatch(value):
            return _detail((name,), value, *not_a_number(value))
        if field and _is_section(field.annotation):
            return _detail((name,), value, *_not_a_section(value))
        takes = in_words(field) if field else 'a name, true, false or nothing'
        fix = 'correct it'
        if field and not field.is_required():
            fix += f', or remove it: the default is {default_of(field)}'
        return _detail((name,), value, f': give {takes}, not {value!r}.', fix)


def _detail(
    location: tuple[int | str, ...], value: Any, what: str, fix: str, stops: bool = True, unknown: str = ''
) -> InitErrorDetails:
    error = PydanticCustomError('option', '{what}', {'what': what, 'fix': fix, 'stops': stops, 'unknown': unknown})
    return InitErrorDetails(type=error, loc=location, input=value)


def _not_a_section(value: Any) -> tuple[str, str]:
    return (f' has to be a section with options, not {value!r}.', 'indent its options below it, or remove it')


def _not_text(key: Any, consequence: str) -> tuple[str, str]:
    what = f': YAML does not read {key!r} as text, so {consequence}.'
    return what, 'put it in quotes (also on, off, yes and no), or remove it'


def not_a_number(value: str) -> tuple[str, str]:
    """Return message and fix for a number such as 1e-4."""
    return f': YAML reads {value} as text, not as a number.', f'write !!float {value}'


def _is_required(field: FieldInfo | None) -> bool:
    return field is not None and field.is_required()


def _is_section(annotation: Any) -> bool:
    if get_origin(annotation) is dict:
        return _is_section(get_args(annotation)[1])
    if isinstance(annotation, type):
        return issubclass(annotation, BaseModel)
    return any(map(_is_section, get_args(annotation)))


def find_problems(section: type[Section], options: Any, where: str = '') -> list[Problem]:
    """Return all problems of the options of a section.

    Args:
        section: class of the section.
        options: options as read from YAML.
        where: path of the section, such as ``train``.
    """
    return _examine(section, options, where)[1]


SectionType = TypeVar('SectionType', bound=Section)


def parse(section: type[SectionType], options: Any, where: str = '') -> SectionType:
    """Parse the options of a section. Ignored options are dropped.

    Raises:
        OptionError: an option is unknown, missing or out of range; the message names the first one.
    """
    parsed, problems = _examine(section, options, where)
    raise_first(problems)
    assert parsed is not None
    return parsed


def _examine(section: type[SectionType], options: Any, where: str) -> tuple[SectionType | None, list[Problem]]:
    """Parse the options of a section; return the section, or None if a problem stops training, and all problems."""
    try:
        return section.model_validate(options), []
    except ValidationError as error:
        details = error.errors()
    problems = [_problem(detail, where) for detail in details]
    if any(problem.stops for problem in problems):
        return None, problems
    for detail in details:
        options = _without(options, _names(detail), detail['ctx']['unknown'])
    parsed, conflicts = _examine(section, options, where)
    return parsed, [*problems, *conflicts]


def _without(options: Mapping[str, Any], names: list[str], unknown: str) -> dict[str, Any]:
    """Return options without the option ``unknown`` of the section at the path ``names``."""
    if not names:
        return {name: value for name, value in options.items() if name != unknown}
    return {**options, names[0]: _without(options[names[0]], names[1:], unknown)}


def _names(detail: Any) -> list[str]:
    return [str(part) for part in detail['loc'] if not str(part).startswith(VARIANT)]


def _problem(detail: Any, where: str) -> Problem:
    context = detail['ctx']
    path = ': '.join(filter(None, (where, *_names(detail))))
    what = f'{path}{context["what"]}' if path else str(context['what']).lstrip(': ')
    return Problem(what, context['fix'], context['stops'])


def default_of(field: FieldInfo) -> str:
    """Return the default of an option in YAML syntax."""
    value = field.get_default()
    if value is None:
        return 'none'
    return str(value).lower() if isinstance(value, bool) else f'{value}'


def in_words(field: FieldInfo) -> str:
    """Return the valid values of an option in words."""
    declared: Any = field.json_schema_extra or {}
    if declared.get('takes'):
        return str(declared['takes'])
    unit = f' ({declared["unit"]})' if declared.get('unit') else ''
    return _type_in_words(field.annotation, field.metadata) + unit


def _type_in_words(annotation: Any, metadata: list[Any]) -> str:
    if get_origin(annotation) is Annotated:
        annotation, *more = get_args(annotation)
        return _type_in_words(annotation, [*metadata, *more])
    if get_origin(annotation) is Literal:
        return listed([f'{value}' for value in get_args(annotation)])
    kinds = [kind for kind in get_args(annotation) if kind is not NoneType]
    if kinds and not isinstance(annotation, type):
        return listed([_type_in_words(kind, metadata) for kind in kinds])
    words = {int: 'a whole number', float: 'a number', bool: 'true or false', str: 'text'}.get(annotation, 'options')
    constraints = chain.from_iterable(item.metadata if isinstance(item, FieldInfo) else [item] for item in metadata)
    limits = {
        name: value
        for constraint in constraints
        for name in ('ge', 'le')
        if (value := getattr(constraint, name, None)) is not None
    }
    if 'le' in limits:
        return f'{words} from {limits["ge"]} to {limits["le"]}'
    return f'{words} from {limits["ge"]} up' if 'ge' in limits else words


def listed(words: list[str]) -> str:
    """Join words with commas and ``or``."""
    return ' or '.join(filter(None, (', '.join(words[:-1]), words[-1])))
