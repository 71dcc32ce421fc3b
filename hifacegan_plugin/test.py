"""Test: ``python -m hifacegan_plugin.test -opt FILE``, for those who prefer it to ``python -m basicsr.test``.

Here an options file needs no ``plugin`` line, and errors in data and weights show their message without a traceback.
"""

from pathlib import Path

import basicsr.test

import hifacegan_plugin
from hifacegan_plugin.host.options import accept_local_rank, check_options_file
from hifacegan_plugin.system.brief_errors import show_messages_alone


def main() -> None:
    """Call the host's testing with the current folder as its root."""
    show_messages_alone()
    check_options_file()
    accept_local_rank()
    hifacegan_plugin.register()
    basicsr.test.test_pipeline(str(Path.cwd()))


if __name__ == '__main__':
    main()
