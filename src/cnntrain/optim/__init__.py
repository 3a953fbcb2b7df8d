"""Group optim: the optimizers."""
