"""Statistics of the training labels that losses need: class weights, mean and deviation of values, bins."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..errors import ConfigError, DataError

MAX_BINS = 100


def explicit_weights(weights: list[float], names: list[str]) -> Tensor:
    """Return the user's weights (K,); raises ConfigError unless there is one per class."""
    if len(weights) != len(names):
        raise ConfigError(
            [
                f"loss.class_weights: {len(weights)} weights for {len(names)} classes; write one for each of "
                + ", ".join(names[:12])
            ]
        )
    return torch.tensor(weights, dtype=torch.float32)


def balanced_weights(classes: int, labels: Tensor) -> Tensor:
    """Return N/(K·n_k) for each class of n_k images (K,), as scikit-learn's "balanced"; 0 for n_k = 0."""
    counts = torch.bincount(labels, minlength=classes)
    weights = len(labels) / (classes * counts.clamp(min=1))
    return torch.where(counts > 0, weights, torch.zeros_like(weights))


def balanced_positives(names: list[str], labels: Tensor) -> Tensor:
    """Return absent/present images of each attribute (A,); raises DataError if one is never present."""
    present = labels.sum(0)
    if (present == 0).any():
        name = names[int((present == 0).nonzero()[0])]
        raise DataError(
            f"loss.balanced=true: no training image has the attribute {name}; remove it or add images"
        )
    return (len(labels) - present) / present


def center_and_scale(labels: Tensor, standardize: bool) -> dict[str, Tensor]:
    """Return mean and standard deviation of each value (V,), or 0 and 1; constant values have scale 1."""
    values = labels.shape[1]
    if not standardize:
        return {"center": torch.zeros(values), "scale": torch.ones(values)}
    exact = labels.double()
    deviation = exact.std(0, correction=0)
    scale = torch.where(deviation > 0, deviation, torch.ones_like(deviation))
    return {"center": exact.mean(0).float(), "scale": scale.float()}


def bin_centers(names: list[str], labels: Tensor, bins: int | None) -> Tensor:
    """Return the ascending centers of each value's bins, (V, B).

    `bins` of equal width span each value's range; None makes one bin for each number that occurs in
    any value. Raises ConfigError if there are more than MAX_BINS of these, DataError if a value is constant.
    """
    low, high = labels.min(0).values, labels.max(0).values
    if (low == high).any():
        constant = names[int((low == high).nonzero()[0])]
        raise DataError(f"loss=bins: {constant} is the same in all training images; remove it")
    if bins is None:
        distinct = torch.from_numpy(np.unique(labels.numpy()))
        if len(distinct) > MAX_BINS:
            raise ConfigError(
                [f"loss.bins=null: {len(distinct)} different numbers occur; write loss.bins=10, or loss=l2"]
            )
        return distinct.expand(len(names), -1).contiguous()
    centers = (torch.arange(bins) + 0.5) / bins
    scaled: Tensor = low[:, None] + (high - low)[:, None] * centers
    return scaled
