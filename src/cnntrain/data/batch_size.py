"""How many images a batch has, and how many batches an epoch has."""

from __future__ import annotations

import math

# Of data.batch_size=auto: as many images as give an epoch so many updates, within these bounds.
LEAST_UPDATES = 16
SMALLEST, LARGEST = 8, 128


def automatic_batch_size(images: int | None, accumulate_steps: int) -> int:
    """Return the batch size for so many training images: a power of two between SMALLEST and LARGEST.

    images: None if unknown, for LARGEST. accumulate_steps: batches per update.
    """
    if images is None:
        return LARGEST
    at_most = max(1, images // (LEAST_UPDATES * accumulate_steps))
    return min(max(1 << int(math.log2(at_most)), SMALLEST), LARGEST)


def batches_per_epoch(images: int, batch_size: int, drop_last: bool) -> int:
    """Return the number of batches into which the images of an epoch are divided."""
    return images // batch_size if drop_last else math.ceil(images / batch_size)
