"""Script for ``hifacegan align``; see ``python data_prep/align_faces.py --help``."""

import sys

from hifacegan_plugin.__main__ import main

if __name__ == '__main__':
    sys.exit(main(['align', *sys.argv[1:]]))
