"""Draw a sheet of degraded images: see ``python data_prep/inspect_degradations.py --help``."""

import sys

from hifacegan_plugin.prepare.inspect_degradations import main
from hifacegan_plugin.system.quiet_end import end_quietly

if __name__ == '__main__':
    sys.exit(end_quietly(main))
