"""Group data: image sources, their splits, and batches."""
