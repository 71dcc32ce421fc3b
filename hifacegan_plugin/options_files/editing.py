"""Change single options in the text of an options file; all else stays as it is written, with its comments."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from textwrap import dedent

# The path of an option, as the host's --force_yml takes it, and what replaces the text behind its colon: a value, with
# or without a comment; a comment alone, which keeps the value; the lines of a section; or None, which removes it.
Changes = dict[str, str | None]


def edit(text: str, changes: Changes) -> Option:
    """Return the options of a text, with the changes made.

    Raises:
        KeyError: a change is of an option that is not there.
    """
    options = parse(text)
    for path, value in changes.items():
        change(options, path, value)
    return options


@dataclass
class Option:
    """An option as it is written, with the options in it where it is a section.

    Attributes:
        above: blank lines and lines of comment before it, without their indentation.
        value: what stands behind the colon; empty for a section.
        comment: from its ``#``; empty where there is none.
        inside: the options in it, in order.
        below: lines of comment behind the last option in it.
    """

    above: list[str] = field(default_factory=list)
    value: str = ''
    comment: str = ''
    inside: dict[str, Option] = field(default_factory=dict)
    below: list[str] = field(default_factory=list)


def parse(text: str) -> Option:
    """Parse block mappings that are indented by 2: all that these options files consist of.

    Raises:
        ValueError: for a line that is something else.
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
    """Put ``text`` behind the colon of the option at ``path``, or remove the option if it is None.

    Raises:
        KeyError: there is no such section, or no such option to remove or to comment.
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
    """Return the lines of the options in a section."""
    lines: list[str] = []
    for key, option in options.inside.items():
        above = option.above if lines else filter(None, option.above)  # no blank line at the top of a section
        lines += [(indent + line).rstrip() for line in above]
        value, comment = option.value and f' {option.value}', option.comment and f'  {option.comment}'
        lines += [f'{indent}{key}:{value}{comment}', *render(option, f'{indent}  ')]
    return lines + [indent + line for line in options.below]
