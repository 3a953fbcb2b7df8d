"""What a setting is, and the whole tree of settings. Nothing here imports torch."""
