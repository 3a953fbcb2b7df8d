"""Group schedule: the learning rate over a run."""
