"""Checks before training: gradients, initial loss, data, and whether the network can learn at all."""
