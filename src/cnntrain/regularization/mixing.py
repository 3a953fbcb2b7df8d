"""mixup, CutMix and input noise, on a batch of network inputs (R8, R9).

Mixed images have two labels each. Their loss is the sum of the losses for both labels, weighted by lam and
1 - lam: for softmax this equals the loss for the mixed targets, and it is defined for every loss.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..seeding import derive, generator
from .settings import Regularizers


@dataclass(frozen=True)
class Mixed:
    """Mixed inputs with the two labels of each; lam is the mixing coefficient of `labels`."""

    inputs: Tensor
    labels: Tensor
    other_labels: Tensor | None = None
    lam: float = 1.0

    def loss(self, criterion: Callable[[Tensor, Tensor], Tensor], scores: Tensor) -> Tensor:
        """Return lam·loss(labels) + (1 - lam)·loss(other_labels)."""
        loss = criterion(scores, self.labels)
        if self.other_labels is None:
            return loss
        return self.lam * loss + (1 - self.lam) * criterion(scores, self.other_labels)

    def dominant_labels(self) -> Tensor:
        """Return the labels with the larger mixing coefficient."""
        return self.labels if self.other_labels is None or self.lam >= 0.5 else self.other_labels


def mix(inputs: Tensor, labels: Tensor, settings: Regularizers, seed: int, step: int, part: int) -> Mixed:
    """Return a batch with mixup or CutMix applied if set; a pure function of its arguments.

    One mixing coefficient is drawn for the whole batch; a random permutation of the batch pairs the images.
    inputs (N, C, H, W); part: the index of the batch within an update of accumulated gradients.
    """
    method = _method(settings, seed, step, part)
    if method is None:
        return Mixed(inputs, labels)
    name, alpha = method
    rng = np.random.default_rng(derive(seed, "mix", step, part))
    lam = float(rng.beta(alpha, alpha))
    order = torch.randperm(len(inputs), generator=generator(seed, "mix order", step, part))
    order = order.to(inputs.device, non_blocking=True)
    if name == "mixup":
        return Mixed(mixup(inputs, order, lam), labels, labels[order], lam)
    row, column = rng.random(2)
    inputs, lam = cutmix(inputs, order, lam, row, column)
    return Mixed(inputs, labels, labels[order], lam)


def add_noise(inputs: Tensor, deviation: float) -> Tensor:
    """Return the inputs plus Gaussian noise from torch's global generator; unchanged for deviation 0."""
    return inputs + deviation * torch.randn_like(inputs) if deviation else inputs


def mixup(inputs: Tensor, order: Tensor, lam: float) -> Tensor:
    """Return lam·x + (1 - lam)·x[order] (Zhang et al. 2018)."""
    return torch.lerp(inputs[order], inputs, lam)


def cutmix(inputs: Tensor, order: Tensor, lam: float, row: float, column: float) -> tuple[Tensor, float]:
    """Return the images with a box of inputs[order] pasted in, and lam: the fraction of unchanged pixels.

    The box has the fraction 1 - lam of the area and the image's aspect ratio; its center is at (row, column),
    fractions in [0, 1) of the sides, and it is clipped at the borders of the image (Yun et al. 2019).
    """
    height, width = inputs.shape[2:]
    side = (1 - lam) ** 0.5
    top, bottom = _edges(row, side, height)
    left, right = _edges(column, side, width)
    inputs = inputs.clone()
    inputs[:, :, top:bottom, left:right] = inputs[order, :, top:bottom, left:right]
    return inputs, 1 - (bottom - top) * (right - left) / (height * width)


def _edges(center: float, side: float, length: int) -> tuple[int, int]:
    pixel, half = int(center * length), int(side * length) // 2
    return max(pixel - half, 0), min(pixel + half, length)


def _method(settings: Regularizers, seed: int, step: int, part: int) -> tuple[str, float] | None:
    """Return the batch's method, "mixup" or "cutmix", and its alpha, or None; drawn if both are set."""
    methods = [(name, getattr(settings, name)) for name in ("mixup", "cutmix") if getattr(settings, name) > 0]
    if not methods:
        return None
    return methods[derive(seed, "mix kind", step, part) % len(methods)]
