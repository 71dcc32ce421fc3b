"""Preparing data sets: databases, pairs, splits, checks."""
