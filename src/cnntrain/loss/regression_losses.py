"""Losses for real values per image (C5): distances, and regression by classification into bins."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..metrics.accumulator import Metrics
from ..metrics.value_metrics import ValueMetrics
from .criterion import Criterion, at_least_float32, reduced


class ValueCriterion(Criterion):
    """A loss for labels float (N, V); its primary metric is the mean absolute error."""

    primary_metric_name = "mean_absolute_error"

    def primary_metric(self, scores: Tensor, labels: Tensor) -> Tensor:
        return (self.predictions(scores) - labels).abs().mean(1)

    def metrics(self) -> Metrics:
        return ValueMetrics(self.names)

    def combine(self, scores: list[Tensor]) -> Tensor:
        return torch.stack([self.predictions(one) for one in scores]).mean(0)


class Distance(ValueCriterion):
    """|f - y|², |f - y| or smooth L1, of values in units of the training split's standard deviations.

    Scores (N, V) estimate (y - center)/scale, so that usual learning rates apply; predictions are in the
    labels' unit. `kind` is "l2", "l1" or "smooth_l1", which is ½d²/beta below beta and d - ½beta above,
    as in torch.
    """

    center: Tensor
    scale: Tensor

    def __init__(
        self, names: list[str], kind: str, reduction: str, center: Tensor, scale: Tensor, beta: float = 1.0
    ):
        super().__init__(names)
        self.kind = kind
        self.reduction = reduction
        self.beta = beta
        self.register_buffer("center", center)
        self.register_buffer("scale", scale)

    def forward(self, scores: Tensor, labels: Tensor) -> Tensor:
        scores = at_least_float32(scores)
        targets = ((labels - self.center) / self.scale).to(scores.dtype)
        if self.kind == "l2":
            losses = (scores - targets).square()
        elif self.kind == "l1":
            losses = (scores - targets).abs()
        else:
            losses = F.smooth_l1_loss(scores, targets, reduction="none", beta=self.beta)
        return reduced(losses, self.reduction)

    def predictions(self, scores: Tensor) -> Tensor:
        return scores.float() * self.scale + self.center


class Bins(ValueCriterion):
    """Softmax cross-entropy for each value, whose range is divided into B bins, one class each.

    centers (V, B), ascending; a label belongs to the bin whose center is nearest. Scores are (N, V·B).
    The prediction is the "mean" of the centers under the probabilities, or the most probable one ("mode").
    """

    centers: Tensor

    def __init__(self, names: list[str], centers: Tensor, prediction: str):
        super().__init__(names, centers.numel())
        self.prediction = prediction
        self.register_buffer("centers", centers)

    def forward(self, scores: Tensor, labels: Tensor) -> Tensor:
        per_value = self._per_value(at_least_float32(scores))
        bins = (labels[:, :, None] - self.centers).abs().argmin(2)
        losses = F.cross_entropy(per_value.flatten(0, 1), bins.flatten(), reduction="none")
        return reduced(losses.view(bins.shape), "sum")

    def predictions(self, scores: Tensor) -> Tensor:
        per_value = self._per_value(scores.float())
        if self.prediction == "mean":
            return (per_value.softmax(2) * self.centers).sum(2)
        chosen = per_value.argmax(2, keepdim=True)
        return self.centers.expand_as(per_value).gather(2, chosen).squeeze(2)

    def _per_value(self, scores: Tensor) -> Tensor:
        return torch.unflatten(scores, 1, tuple(self.centers.shape))
