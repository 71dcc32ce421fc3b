"""Images: found, read, decoded and written."""
