"""``hifacegan inspect-degradations`` under its former name; see ``python data_prep/inspect_degradations.py --help``."""

import sys

from hifacegan_plugin.__main__ import main

if __name__ == '__main__':
    sys.exit(main(['inspect-degradations', *sys.argv[1:]]))
