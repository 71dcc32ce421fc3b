"""``hifacegan doctor``: check this machine and an options file before a run of days starts."""
