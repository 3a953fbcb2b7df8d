"""Benchmarks of cnntrain; see README.md."""
