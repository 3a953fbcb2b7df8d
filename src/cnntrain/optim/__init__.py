"""Learning-rate schedules; the optimizers are torch's own."""
