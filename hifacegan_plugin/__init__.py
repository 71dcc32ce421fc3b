"""HiFaceGAN for BasicSR: the paper's network, its training and its data.

Importing the package registers everything with the host, except in commands such as ``hifacegan``: the host takes
seconds to import, and most commands do without it.
"""

import re
import sys
from pathlib import Path

__version__ = '0.1.0'


# Programs that do without the host, or register it themselves when they need it.
_COMMANDS = ('hifacegan', 'hifacegan.exe', 'create_lmdb.py', 'inspect_degradations.py', 'make_demo_pictures.py',
             'make_pairs.py', 'split.py', 'verify_lmdb.py')


def _started_as_command() -> bool:
    """Tell whether this import is a step of a command, not of a program that uses the plugin inside the host."""
    if sys.argv[:1] == ['-m']:  # so while Python looks for the module that `python -m` names
        # What stands before the module's own arguments: its name, alone or behind `-m`, `-um` and the like.
        return re.fullmatch(rf'(-\w*m)?{__name__}', sys.orig_argv[-len(sys.argv)]) is not None
    return Path(sys.argv[0]).name in _COMMANDS


if not _started_as_command():
    from hifacegan_plugin import host

    host.register()
