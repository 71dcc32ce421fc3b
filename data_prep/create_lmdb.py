"""Make an LMDB from a folder of images: see ``python data_prep/create_lmdb.py --help``."""

import sys

from hifacegan_plugin.prepare.create_lmdb import main
from hifacegan_plugin.system.quiet_end import end_quietly

if __name__ == '__main__':
    sys.exit(end_quietly(main))
