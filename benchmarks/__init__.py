"""Benchmarks of cnntrain; see docs/benchmarks.md."""
