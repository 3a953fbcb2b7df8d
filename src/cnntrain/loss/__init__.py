"""What is minimized, and what the scores of a network mean: one module for each kind of target."""
