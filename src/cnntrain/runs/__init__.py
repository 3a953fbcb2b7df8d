"""What a run keeps on disk: folder, checkpoints, metrics."""
