"""Group trainer: the training loop, evaluation over a split, device and precision."""
