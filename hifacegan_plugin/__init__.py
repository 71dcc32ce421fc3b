"""HiFaceGAN for BasicSR: the paper's network, its training and its data.

Importing the package registers everything with the host. Started as a command (``hifacegan`` or
``python -m hifacegan_plugin``) it does not: the host takes seconds to import, and most commands do without it.
"""

import sys

__version__ = '0.1.0'


def _started_as_command() -> bool:
    """Tell whether this import is the first step of the command line, not of a program that uses the plugin."""
    if sys.argv[:1] == ['-m']:  # so while Python looks for the module that `python -m` names
        return sys.orig_argv[sys.orig_argv.index('-m') + 1] == __name__
    return sys.argv[0].endswith(('/hifacegan', '\\hifacegan.exe'))


if not _started_as_command():
    from hifacegan_plugin import host

    host.register()
