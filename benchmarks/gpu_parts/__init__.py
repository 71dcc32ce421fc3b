"""The parts of ``benchmarks/gpu.py``: what it checks and measures on a card, and how it keeps the results."""
