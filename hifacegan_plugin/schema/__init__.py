"""The options: type, range, default, unit and one line of help for each, declared once.

The model, the data set, the comparison and the doctor parse options with these classes. The JSON Schemas for editors
and the tables in docs/ are generated from them. Nothing here imports torch or the host; callers pass in what depends
on their registries.
"""
