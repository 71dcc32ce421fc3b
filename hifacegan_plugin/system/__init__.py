"""The machine: files, memory, random numbers, how a command ends."""
