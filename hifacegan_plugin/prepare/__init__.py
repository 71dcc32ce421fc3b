"""Data sets made ready: databases, pairs, splits, checks."""
