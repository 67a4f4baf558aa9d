"""Benchmarks of `scripts/benchmark.py`, one module per task."""
