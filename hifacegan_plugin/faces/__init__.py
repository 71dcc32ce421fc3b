"""Faces in photographs: detect them, cut out aligned crops, and paste them back."""
