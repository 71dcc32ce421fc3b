"""The command line: ``hifacegan COMMAND`` or ``python -m hifacegan_plugin COMMAND``.

Each command is a module with ``add_arguments(parser)`` and ``run(arguments) -> exit status``, imported when it runs.
"""

from __future__ import annotations

import argparse
import sys
from importlib import import_module

import hifacegan_plugin
from hifacegan_plugin.system.quiet_end import end_quietly

# name: (module, one line of help)
COMMANDS = {
    'compare': ('hifacegan_plugin.commands.compare', 'table and page of several restorers on the same pictures'),
    'convert': ('hifacegan_plugin.commands.convert', 'write weights of any kind as safetensors, with their options'),
    'doctor': ('hifacegan_plugin.commands.doctor', 'say what is wrong with this machine or an options file'),
    'export': ('hifacegan_plugin.commands.export', 'write the network for ONNX Runtime or OpenVINO'),
    'report': ('hifacegan_plugin.commands.report', 'table and picture sheet of what basicsr.test restored'),
    'restore': ('hifacegan_plugin.commands.restore', 'restore pictures, folders or videos with trained weights'),
    'stages': ('hifacegan_plugin.commands.stages', 'panels of what each unit of the network restores'),
}


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit status (0: all went well)."""
    return end_quietly(lambda: _run(sys.argv[1:] if arguments is None else arguments))


def _run(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog='hifacegan', description='What HiFaceGAN does outside the training host.')
    parser.add_argument('--version', action='version', version=hifacegan_plugin.__version__)
    subparsers = parser.add_subparsers(dest='command', required=True, metavar='COMMAND')
    for name, (module, summary) in COMMANDS.items():
        subparser = subparsers.add_parser(name, help=summary, description=summary)
        if name in arguments[:1]:  # only the command that runs pays for its imports
            import_module(module).add_arguments(subparser)
    namespace = parser.parse_args(arguments)
    return import_module(COMMANDS[namespace.command][0]).run(namespace)


if __name__ == '__main__':
    sys.exit(main())
