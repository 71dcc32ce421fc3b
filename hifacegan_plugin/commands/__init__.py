"""The commands of ``hifacegan``: arguments in, exit status out."""
