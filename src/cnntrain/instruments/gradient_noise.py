"""The noise of gradients across batches, and the batch size that it suggests (McCandlish et al. 2018)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def critical_batch_size(gradients: Sequence[Tensor], batch_size: int) -> float | None:
    """Return tr(Σ) / |G|², the batch size at which noise and gradient of a batch are of equal size.

    Well below it, twice the batch needs half of the updates; well above it, hardly fewer. gradients: those of
    the mean loss of several batches of `batch_size` images at the same weights, each one vector. |G|² and
    tr(Σ), the trace of the covariance of a single image's gradient, are estimated without bias from the mean
    gradient and its parts (appendix A.1). None where |G|² is estimated as 0 or less: too few batches.
    """
    small = float(torch.stack([gradient.square().sum() for gradient in gradients]).mean())
    together = batch_size * len(gradients)
    large = float(torch.stack(list(gradients)).mean(0).square().sum())
    squared = (together * large - batch_size * small) / (together - batch_size)
    trace = (small - large) / (1 / batch_size - 1 / together)
    return trace / squared if squared > 0 else None
