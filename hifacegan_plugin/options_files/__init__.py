"""The text of options files: the paper's training, and edits that keep its comments."""

from pathlib import Path

# The paper's training: complete, commented and edited by hand. The files in options/ (through `make options`) and the
# files that `hifacegan init` writes are derived from it.
PAPER = Path(__file__).with_name('paper.yml').read_text(encoding='utf-8')
