"""``hifacegan doctor``: what this machine and an options file lack, said before a run of days starts."""
