"""Faces in photographs: where they are, the aligned square around each, and the way back into the photograph."""
