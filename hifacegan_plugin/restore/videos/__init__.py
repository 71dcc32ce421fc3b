"""Videos: read, restored frame by frame, and written."""
