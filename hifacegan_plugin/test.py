"""Test: ``python -m hifacegan_plugin.test -opt FILE``, for those who prefer it to ``python -m basicsr.test``.

Here an options file needs no ``plugin`` line.
"""

from pathlib import Path

import basicsr.test

from hifacegan_plugin import host


def main() -> None:
    """Call the host's testing with the current folder as its root."""
    host.check_options_file()
    host.register()
    basicsr.test.test_pipeline(str(Path.cwd()))


if __name__ == '__main__':
    main()
