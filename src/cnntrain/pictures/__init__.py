"""Pictures as PNG files, drawn from plain data and tensors; nothing here knows of runs or settings."""
