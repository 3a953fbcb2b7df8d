"""Trained networks for use from Python."""
