"""Check every image of an LMDB: see ``python data_prep/verify_lmdb.py --help``."""

import sys

from hifacegan_plugin.prepare.verify_lmdb import main
from hifacegan_plugin.system.quiet_end import end_quietly

if __name__ == '__main__':
    sys.exit(end_quietly(main))
