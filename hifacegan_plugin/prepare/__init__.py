"""Preparation of data sets: databases, aligned faces, pairs, splits, checks."""
