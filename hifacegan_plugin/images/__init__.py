"""Find, read, decode and write images."""
