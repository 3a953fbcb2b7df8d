"""Settings of the data sets (group `data`), a module a kind: sources of images, and their splits (D1, D8)."""
