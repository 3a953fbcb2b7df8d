"""Settings of the networks, one module a family."""
