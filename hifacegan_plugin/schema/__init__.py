"""Declarations of all options: type, range, default, unit and help text.

The model, the data set, the comparison and the doctor parse options with these classes. The JSON Schemas for editors
and the tables in docs/ are generated from them. Nothing here imports torch or the host; callers pass the contents of
registries.
"""
