"""Print a completion script for bash or zsh: commands, options, choices and files.

For bash, in every new shell:

    mkdir -p ~/.local/share/bash-completion/completions
    hifacegan completion > ~/.local/share/bash-completion/completions/hifacegan

For zsh:

    hifacegan completion > ~/.hifacegan-completion
    echo 'source ~/.hifacegan-completion' >> ~/.zshrc

The script holds the options of this version: print it again after an upgrade.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from types import ModuleType

SCRIPT = """\
# Completes hifacegan {version} in bash and zsh. Written by `hifacegan completion`.
if [ -n "$ZSH_VERSION" ]; then
    autoload -U +X compinit bashcompinit && compinit && bashcompinit
fi

_hifacegan() {{
    local word="${{COMP_WORDS[COMP_CWORD]}}" before="${{COMP_WORDS[COMP_CWORD - 1]}}" words=""
    if [ "$COMP_CWORD" -eq 1 ]; then
        words="{commands} --help --version"
    else
        case "${{COMP_WORDS[1]}} $before $word" in
{cases}
        esac
    fi
    COMPREPLY=($(compgen -W "$words" -- "$word"))
}}

complete -o default -F _hifacegan hifacegan"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``hifacegan completion``: none."""


def run(arguments: argparse.Namespace) -> int:
    """Print the script."""
    import hifacegan_plugin
    from hifacegan_plugin.__main__ import COMMANDS, module_of

    names = [name for group in COMMANDS.values() for name in group]
    cases = '\n'.join(f'            {case}' for name in names for case in _cases_of(name, module_of(name)))
    print(SCRIPT.format(version=hifacegan_plugin.__version__, commands=' '.join(names), cases=cases))
    return 0


def _cases_of(command: str, module: ModuleType) -> Iterator[str]:
    """Give the cases of a command: the choices of an option that is written before, or all options."""
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    for action in parser._actions:  # argparse has no public list of them
        if action.option_strings and action.choices:
            before = '|'.join(f'"{command} {option} "*' for option in action.option_strings)
            yield f'{before}) words="{" ".join(map(str, action.choices))}" ;;'
    options = ' '.join(option for action in parser._actions for option in action.option_strings)
    yield f'"{command} "*" -"*) words="{options}" ;;'
