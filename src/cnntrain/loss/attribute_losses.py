"""Losses for several independent yes/no attributes per image (C4)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..metrics.accumulator import Metrics
from ..metrics.attribute_metrics import AttributeMetrics
from .criterion import Criterion, at_least_float32


class AttributeCriterion(Criterion):
    """A loss for scores (N, A), positive where an attribute is predicted present, and labels (N, A) 0 or 1.

    Accuracy is the fraction of attributes predicted correctly.
    """

    def primary_metric(self, scores: Tensor, labels: Tensor) -> Tensor:
        return ((scores > 0) == (labels > 0.5)).float().mean(1)

    def metrics(self) -> Metrics:
        return AttributeMetrics(self.names)

    def probabilities(self, scores: Tensor) -> Tensor:
        return scores.float().sigmoid()

    def combine(self, scores: list[Tensor]) -> Tensor:
        # In float64, and clamped away from 0 and 1, so that confident scores keep their order.
        means = torch.stack([one.double().sigmoid() for one in scores]).mean(0)
        return means.logit(eps=torch.finfo(torch.float64).eps)


class AttributeHinge(AttributeCriterion):
    """Mean over the batch of the sum over attributes of max(0, delta - y·f), y = ±1."""

    def __init__(self, names: list[str], delta: float):
        super().__init__(names)
        self.delta = delta

    def forward(self, scores: Tensor, labels: Tensor) -> Tensor:
        signs = 2 * labels - 1
        return (self.delta - signs * at_least_float32(scores)).clamp(min=0).sum(1).mean()


class AttributeLogistic(AttributeCriterion):
    """Mean over the batch of -sum of y·log σ(f) + (1 - y)·log(1 - σ(f)); gradient σ(f) - y.

    positive_weights (A,) multiply the terms of attributes that are present, like torch's pos_weight.
    """

    positive_weights: Tensor | None

    def __init__(self, names: list[str], positive_weights: Tensor | None):
        super().__init__(names)
        self.register_buffer("positive_weights", positive_weights)

    def forward(self, scores: Tensor, labels: Tensor) -> Tensor:
        scores = at_least_float32(scores)
        losses = F.binary_cross_entropy_with_logits(
            scores, labels.to(scores.dtype), reduction="none", pos_weight=self.positive_weights
        )
        return losses.sum(1).mean()
