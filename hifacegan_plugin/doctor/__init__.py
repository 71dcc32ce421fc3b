"""``hifacegan doctor``: check this machine and an options file before a long training."""
