"""Operating system utilities: files, locks, memory, processes, random states, exit status."""
