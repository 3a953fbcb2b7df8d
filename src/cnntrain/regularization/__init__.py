"""Group regularization: penalties, decay, max norm, dropout, stochastic depth, mixup, CutMix, noise."""
