"""Group loss: what is minimized, and what a network's scores mean."""
