"""Mixtures of images, and noise on them, made from a batch as the network is about to see it (R8, R9).

Mixed images have two labels each. The loss of a mixture is the same mixture of the losses for both, which
for softmax is the loss against the mixed targets, and which any loss can give.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .config.regularization import Regularization
from .seeding import derive, generator


@dataclass(frozen=True)
class Mixed:
    """Inputs, and labels of which the first count `share` and the others the rest."""

    inputs: Tensor
    labels: Tensor
    others: Tensor | None = None
    share: float = 1.0

    def loss(self, criterion: Callable[[Tensor, Tensor], Tensor], scores: Tensor) -> Tensor:
        """Return the mixture of the losses for both labels."""
        loss = criterion(scores, self.labels)
        if self.others is None:
            return loss
        return self.share * loss + (1 - self.share) * criterion(scores, self.others)

    def main_labels(self) -> Tensor:
        """Return the labels with the larger share."""
        return self.labels if self.others is None or self.share >= 0.5 else self.others


def mix(inputs: Tensor, labels: Tensor, strengths: Regularization, seed: int, step: int, part: int) -> Mixed:
    """Return a batch as it is to be trained on: a pure function of its arguments.

    One share is drawn for the whole batch, and for each image another image of it. inputs (N, C, H, W).
    """
    alpha = _chosen(strengths, seed, step, part)
    if alpha is None:
        return Mixed(inputs, labels)
    kind, strength = alpha
    draws = np.random.default_rng(derive(seed, "mix", step, part))
    share = float(draws.beta(strength, strength))
    order = torch.randperm(len(inputs), generator=generator(seed, "mix order", step, part))
    order = order.to(inputs.device, non_blocking=True)
    if kind == "mixup":
        return Mixed(mixup(inputs, order, share), labels, labels[order], share)
    row, column = draws.random(2)
    inputs, share = cutmix(inputs, order, share, row, column)
    return Mixed(inputs, labels, labels[order], share)


def noisy(inputs: Tensor, deviation: float) -> Tensor:
    """Return the inputs with Gaussian noise, from torch's global generator; as they are for 0."""
    return inputs + deviation * torch.randn_like(inputs) if deviation else inputs


def mixup(inputs: Tensor, order: Tensor, share: float) -> Tensor:
    """Return share·x + (1 - share)·x[order]."""
    return torch.lerp(inputs[order], inputs, share)


def cutmix(inputs: Tensor, order: Tensor, share: float, row: float, column: float) -> tuple[Tensor, float]:
    """Return the images with a box of x[order] in them, and the share of their own pixels that is left.

    The box has (1 - share) of the area and the image's proportions; its centre is at (row, column) in
    [0, 1), and what reaches beyond the image is cut off.
    """
    height, width = inputs.shape[2:]
    side = (1 - share) ** 0.5
    top, bottom = _edges(row, side, height)
    left, right = _edges(column, side, width)
    inputs = inputs.clone()
    inputs[:, :, top:bottom, left:right] = inputs[order, :, top:bottom, left:right]
    return inputs, 1 - (bottom - top) * (right - left) / (height * width)


def _edges(centre: float, side: float, length: int) -> tuple[int, int]:
    middle, half = int(centre * length), int(side * length) // 2
    return max(middle - half, 0), min(middle + half, length)


def _chosen(strengths: Regularization, seed: int, step: int, part: int) -> tuple[str, float] | None:
    """Return which mixture a batch gets, and its strength; with both kinds, a coin decides."""
    kinds = [(kind, getattr(strengths, kind)) for kind in ("mixup", "cutmix") if getattr(strengths, kind) > 0]
    if not kinds:
        return None
    return kinds[derive(seed, "mix kind", step, part) % len(kinds)]
