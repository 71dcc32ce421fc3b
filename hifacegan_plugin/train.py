"""Train: ``python -m hifacegan_plugin.train -opt FILE``, for those who prefer it to ``python -m basicsr.train``.

Here an options file needs no ``plugin`` line.
"""

from pathlib import Path

import basicsr.train

import hifacegan_plugin
from hifacegan_plugin.host.options import accept_local_rank, check_options_file


def main() -> None:
    """Call the host's training with the current folder as its root."""
    check_options_file()
    accept_local_rank()
    hifacegan_plugin.register()
    basicsr.train.train_pipeline(str(Path.cwd()))


if __name__ == '__main__':
    main()
