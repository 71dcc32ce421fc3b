"""The parts of ``benchmarks/gpu.py``: tests, measurements and results."""
