"""Group initialization: initial weights."""
