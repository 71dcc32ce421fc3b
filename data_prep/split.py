"""``hifacegan split`` under its former name; see ``python data_prep/split.py --help``."""

import sys

from hifacegan_plugin.__main__ import main

if __name__ == '__main__':
    sys.exit(main(['split', *sys.argv[1:]]))
