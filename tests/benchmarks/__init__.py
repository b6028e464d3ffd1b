"""Benchmarks: `python -m tests.benchmarks` times two implementations of the same in one run."""
