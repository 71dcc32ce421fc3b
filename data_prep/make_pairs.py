"""Degrade images once and store the pairs: see ``python data_prep/make_pairs.py --help``."""

import sys

from hifacegan_plugin.prepare.make_pairs import main
from hifacegan_plugin.system.quiet_end import end_quietly

if __name__ == '__main__':
    sys.exit(end_quietly(main))
