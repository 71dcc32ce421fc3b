"""The command line: ``hifacegan COMMAND`` or ``python -m hifacegan_plugin COMMAND``.

Each command is a module with ``add_arguments(parser)`` and ``run(arguments) -> exit status``, imported when it runs.
Its docstring is the text of ``--help``.
"""

from __future__ import annotations

import argparse
import re
import signal
import sys
from importlib import import_module
from types import ModuleType
from typing import NoReturn

import hifacegan_plugin
from hifacegan_plugin.system.quiet_end import end_quietly

DESCRIPTION = """\
Restore images with HiFaceGAN, and prepare and judge its training, which BasicSR runs:

  hifacegan restore -i photographs -o restored                       restore with a network that comes with the package

  hifacegan lmdb -i photographs -o photographs.lmdb --size 512       train on images of your own
  hifacegan init photographs -i photographs.lmdb
  python -m basicsr.train -opt photographs.yml"""

# By what people want to do: the command, whose module has its name, and one line of help.
COMMANDS = {
    'Restore': {
        'restore': 'restore images, folders or videos with trained weights',
        'app': 'restore images in the browser, on a page of this machine',
        'models': 'list the networks that come with the package, and how good they are',
    },
    'Prepare data': {
        'align': 'cut aligned faces out of photographs',
        'lmdb': 'make an LMDB from a folder of images',
        'pairs': 'degrade images once and keep the pairs, for every restorer the same',
        'split': 'write lists of training and test images',
        'verify-lmdb': 'check every image of an LMDB',
        'inspect-degradations': 'draw what the recipes do to an image',
    },
    'Train': {
        'init': 'write an options file for a training on your own images',
        'doctor': 'find problems of this machine or an options file',
        'report': 'make a table and an image sheet of the results of basicsr.test',
        'stages': 'show what each unit of the network restores',
    },
    'Compare': {
        'compare': 'make tables and a page of several restorers on the same images',
    },
    'Convert weights': {
        'convert': 'write weights of any kind as safetensors, with their options',
        'export': 'write the network for ONNX Runtime or OpenVINO',
    },
    'This command line': {
        'completion': 'print a script for completion in bash or zsh',
    },
}

# How to continue after Ctrl-C. All files are written whole or not at all.
AFTER_STOP = {
    **dict.fromkeys(('restore', 'compare'), 'with --resume, the same command leaves out what is finished'),
    **dict.fromkeys(('align', 'lmdb', 'pairs'), 'with --resume, the same command continues'),
}
AFTER_ANY_STOP = 'nothing is half written; run it again'
STOPPED = 128 + signal.SIGINT  # exit status, as shells show it


class _Parser(argparse.ArgumentParser):
    """Says what is wrong, and where the options are explained, without listing them first."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f'{self.prog}: {message}\n{self.prog} --help explains the options.\n')


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit status (0: all went well)."""
    return end_quietly(lambda: _run_or_stop(sys.argv[1:] if arguments is None else arguments))


def _run_or_stop(arguments: list[str]) -> int:
    """Run a command; on Ctrl-C, say how to continue; if a package is missing, point to the doctor."""
    command = next(iter(arguments), '')
    try:
        return _run(arguments)
    except ImportError as error:
        print(f'hifacegan {command}: {error} (`hifacegan doctor` says what this machine lacks)', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        hint = AFTER_STOP.get(command, AFTER_ANY_STOP)
        print(f'\nhifacegan {command}: stopped; {hint}', file=sys.stderr)
        return STOPPED


def _run(arguments: list[str]) -> int:
    parser = _Parser(
        prog='hifacegan', description=DESCRIPTION, epilog=_list_commands(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument('--version', action='version', version=hifacegan_plugin.__version__)
    subparsers = parser.add_subparsers(
        dest='command', metavar='COMMAND', help='one of those below; COMMAND --help says more'
    )
    for name in (name for group in COMMANDS.values() for name in group):
        subparser = subparsers.add_parser(name, formatter_class=argparse.RawDescriptionHelpFormatter)
        if name in arguments[:1]:  # only the command that runs pays for its imports
            module = module_of(name)
            subparser.description = module.__doc__
            module.add_arguments(subparser)
    if any(argument == '' or re.fullmatch('--[a-z-]+=', argument) for argument in arguments):
        parser.error('an argument is empty, for example an unset variable of the shell (the current folder is .)')
    namespace = parser.parse_args(arguments)
    if namespace.command is None:
        parser.print_help(sys.stderr)
        return 2
    return module_of(namespace.command).run(namespace)


def module_of(command: str) -> ModuleType:
    """Import the module of a command."""
    return import_module(f'hifacegan_plugin.commands.{command.replace("-", "_")}')


def _list_commands() -> str:
    """List the commands in their groups, aligned."""
    width = max(len(name) for group in COMMANDS.values() for name in group)
    lines = []
    for title, group in COMMANDS.items():
        lines += [f'{title}:', *(f'  {name:{width}}  {summary}' for name, summary in group.items()), '']
    return '\n'.join(lines).rstrip()


if __name__ == '__main__':
    sys.exit(main())
