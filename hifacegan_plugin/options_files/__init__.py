"""Options files as text: the paper's training, and what others change in it, with the comments kept."""

from pathlib import Path

# The training of the paper, from which all other options files are derived: complete, commented, edited by hand.
# Changes reach the files in options/ by `make options`, and those that `hifacegan init` writes.
PAPER = Path(__file__).with_name('paper.yml').read_text(encoding='utf-8')
