"""Training throughput of cnntrain against other stacks; see README.md."""
