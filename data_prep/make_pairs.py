"""``hifacegan pairs`` under its former name; see ``python data_prep/make_pairs.py --help``."""

import sys

from hifacegan_plugin.__main__ import main

if __name__ == '__main__':
    sys.exit(main(['pairs', *sys.argv[1:]]))
