"""Images: where they come from, how they are split, preprocessed, varied and batched."""
