"""The options, typed once: what each takes, its default, its unit and one line of help.

The model, the data set, the comparison and the doctor parse with these classes; the JSON Schema for editors and the
tables in docs/ are written from them. Nothing here imports torch or the host; what depends on their registries is
handed in.
"""
