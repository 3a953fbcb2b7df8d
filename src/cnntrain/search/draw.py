"""Settings drawn from ranges: job number → settings, the same whatever the number of jobs."""

from __future__ import annotations

import zlib

import numpy as np
from scipy.stats import qmc

from .ranges import Parameter


def random_settings(space: dict[str, Parameter], seed: int, number: int) -> dict[str, str]:
    """Return the settings of a job, each drawn independently (Bergstra & Bengio 2012; H1).

    Every setting has a random stream of its own: a further one leaves the others as they were.
    """
    return {
        key: parameter.at(np.random.default_rng([seed, number, zlib.crc32(key.encode())]).random())
        for key, parameter in space.items()
    }


def quasi_random_settings(space: dict[str, Parameter], seed: int, number: int) -> dict[str, str]:
    """Return the settings of a job from a scrambled Halton sequence, whose points cover the ranges evenly."""
    sequence = qmc.Halton(d=len(space), scramble=True, rng=np.random.default_rng(seed))
    sequence.fast_forward(number)
    return {key: space[key].at(float(u)) for key, u in zip(sorted(space), sequence.random(1)[0], strict=True)}
