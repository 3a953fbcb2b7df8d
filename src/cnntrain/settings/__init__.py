"""Declaration of settings, and the complete configuration tree. Nothing here imports torch."""
