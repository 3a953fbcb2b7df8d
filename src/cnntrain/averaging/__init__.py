"""Group averaging: running averages of the weights."""
