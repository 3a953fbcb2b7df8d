"""How many images a batch has, and how many batches an epoch has."""

from __future__ import annotations

import math

# data.batch_size=auto: the largest of these sizes with which an epoch has so many updates.
SIZES, ENOUGH_UPDATES = (128, 64, 32), 12
# Of few images, 16 with so many updates, else 8: gradients and batch statistics of fewer are mostly noise.
SMALL, LEAST_UPDATES, SMALLEST = 16, 8, 8


def automatic_batch_size(images: int | None, accumulate_steps: int) -> int:
    """Return the batch size for so many training images, None if unknown.

    accumulate_steps: batches per update. docs/defaults.md has the measurements.
    """
    if images is None:
        return SIZES[0]
    batches_of_one = images / accumulate_steps
    for size in SIZES:
        if batches_of_one >= ENOUGH_UPDATES * size:
            return size
    return SMALL if batches_of_one >= LEAST_UPDATES * SMALL else SMALLEST


def batches_per_epoch(images: int, batch_size: int, drop_last: bool) -> int:
    """Return the number of batches into which the images of an epoch are divided."""
    return images // batch_size if drop_last else math.ceil(images / batch_size)
