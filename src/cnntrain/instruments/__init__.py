"""Measurements taken during training."""
