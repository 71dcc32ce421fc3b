"""Write lists of training and test images: see ``python data_prep/split.py --help``."""

import sys

from hifacegan_plugin.prepare.split import main
from hifacegan_plugin.system.quiet_end import end_quietly

if __name__ == '__main__':
    sys.exit(end_quietly(main))
