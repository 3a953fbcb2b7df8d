"""Writes parts of the documentation that are made from runs and from installed packages."""
