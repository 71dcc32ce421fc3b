"""Change single options in the text of an options file and keep everything else, including comments."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from textwrap import dedent

# Path of an option, as in the host's --force_yml -> the text to put after its colon: a value with or without
# a comment, a comment alone (which keeps the value), or the lines of a section. None removes the option.
Changes = dict[str, str | None]


def edit(text: str, changes: Changes) -> Option:
    """Parse a text and return its options with the changes applied.

    Raises:
        KeyError: a change names an option that does not exist.
    """
    options = parse(text)
    for path, value in changes.items():
        change(options, path, value)
    return options


@dataclass
class Option:
    """An option as written in the text; a section also holds its options.

    Attributes:
        above: blank lines and comment lines before the option, without indentation.
        value: text after the colon; empty for a section.
        comment: comment on the same line, with its ``#``; empty if there is none.
        inside: the options of the section, in order.
        below: comment lines after the last option of the section.
    """

    above: list[str] = field(default_factory=list)
    value: str = ''
    comment: str = ''
    inside: dict[str, Option] = field(default_factory=dict)
    below: list[str] = field(default_factory=list)


def parse(text: str) -> Option:
    """Parse block mappings with an indentation of 2, the only YAML syntax that these files use.

    Raises:
        ValueError: a line has another syntax.
    """
    sections, above = [Option()], []
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith('#'):
            above.append(line.strip())
            continue
        match = re.fullmatch(r'((?:  )*)([\w.-]+):(?: ([^#\s].*?))?(?: +(#.*))?', line)
        if match is None:
            raise ValueError(f'not `option: value  # comment`: {line!r}')
        indent, key, value, comment = match.groups(default='')
        del sections[len(indent) // 2 + 1 :]
        option = sections[-1].inside[key] = Option(above, value, comment)
        sections.append(option)
        above = []
    sections[0].below = above
    return sections[0]


def change(options: Option, path: str, text: str | None) -> None:
    """Put ``text`` after the colon of the option at ``path``; None removes the option.

    Raises:
        KeyError: the section does not exist, or the option to remove or to comment does not exist.
    """
    *sections, key = path.split(':')
    section = options
    for name in sections:
        section = section.inside[name]
    if text is None:
        _take_out(section, key)
        return
    head, _, body = text.partition('\n')
    if head.startswith('#') and not body:
        section.inside[key].comment = head.removesuffix('#')
        return
    (new,) = parse(f'{key}: {head}'.rstrip()).inside.values()
    lines = parse(dedent(body))
    new.inside, new.below = lines.inside, lines.below
    new.above = section.inside[key].above if key in section.inside else []
    section.inside[key] = new


def _take_out(section: Option, key: str) -> None:
    """Remove an option; keep the blank line above it for the next one."""
    keys = [*section.inside]
    above = section.inside.pop(key).above
    followers = keys[keys.index(key) + 1 :]
    if followers and '' in above:
        follower = section.inside[followers[0]]
        follower.above = follower.above if '' in follower.above else ['', *follower.above]


def render(options: Option, indent: str = '') -> list[str]:
    """Return the text of a section's options as lines."""
    lines: list[str] = []
    for key, option in options.inside.items():
        above = option.above if lines else filter(None, option.above)  # no blank line at the top of a section
        lines += [(indent + line).rstrip() for line in above]
        value, comment = option.value and f' {option.value}', option.comment and f'  {option.comment}'
        lines += [f'{indent}{key}:{value}{comment}', *render(option, f'{indent}  ')]
    return lines + [indent + line for line in options.below]
