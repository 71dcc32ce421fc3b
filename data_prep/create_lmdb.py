"""``hifacegan lmdb`` under its former name; see ``python data_prep/create_lmdb.py --help``."""

import sys

from hifacegan_plugin.__main__ import main

if __name__ == '__main__':
    sys.exit(main(['lmdb', *sys.argv[1:]]))
