"""Losses for one class per image."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..metrics.accumulator import Metrics
from ..metrics.class_metrics import ClassMetrics, RejectingMetrics
from .criterion import Criterion, at_least_float32, reduced


class ClassCriterion(Criterion):
    """A loss for scores (N, K) of K mutually exclusive classes; labels int64 (N,)."""

    def primary_metric(self, scores: Tensor, labels: Tensor) -> Tensor:
        return (scores.argmax(1) == labels).float()

    def metrics(self) -> Metrics:
        return ClassMetrics(self.names)

    def probabilities(self, scores: Tensor) -> Tensor:
        return scores.float().softmax(1)

    def combine(self, scores: list[Tensor]) -> Tensor:
        return scores_of(torch.stack([self.probabilities(one) for one in scores]).mean(0))


def scores_of(probabilities: Tensor) -> Tensor:
    """Return scores whose softmax are these probabilities (N, K)."""
    return probabilities.clamp(min=torch.finfo(probabilities.dtype).tiny).log()


class Softmax(ClassCriterion):
    """Softmax cross-entropy, -log p(label), with class weights and label smoothing (C1, R8).

    Labels are smoothed in training mode only. As in torch's cross_entropy, class weights also weight the mean
    over the batch.
    """

    weights: Tensor | None

    def __init__(self, names: list[str], weights: Tensor | None, label_smoothing: float):
        super().__init__(names)
        self.register_buffer("weights", weights)
        self.label_smoothing = label_smoothing

    def forward(self, scores: Tensor, labels: Tensor) -> Tensor:
        scores = at_least_float32(scores)
        weights = None if self.weights is None else self.weights.to(scores.dtype)
        smoothing = self.label_smoothing if self.training else 0.0
        return F.cross_entropy(scores, labels, weights, label_smoothing=smoothing)

    def weight(self, labels: Tensor) -> float | Tensor:
        return super().weight(labels) if self.weights is None else self.weights[labels].sum()


class MulticlassSvm(ClassCriterion):
    """Mean over the batch of the sum over wrong classes of max(0, s_j - s_y + delta), or of its square (C2).

    torch's MultiMarginLoss also divides by the number of classes; this loss does not, as in the notes.
    """

    def __init__(self, names: list[str], delta: float, squared: bool):
        super().__init__(names)
        self.delta = delta
        self.squared = squared

    def forward(self, scores: Tensor, labels: Tensor) -> Tensor:
        scores = at_least_float32(scores)
        correct = scores.gather(1, labels[:, None])
        margins = (scores - correct + self.delta).clamp(min=0)
        if self.squared:
            margins = margins.square()
        # The margin of the correct class itself is always delta and is subtracted again.
        constant = margins.gather(1, labels[:, None]).squeeze(1)
        return (margins.sum(1) - constant).mean()


class RejectingSoftmax(ClassCriterion):
    """LeNet-5's criterion: -s_y + log(e^-j + sum of e^s_i), mean over the batch (LeCun et al. 1998; N2).

    It is softmax cross-entropy with one additional class, "none of them", whose score is always -j. If scores
    are negative distances, classes already farther away than j are not pushed farther away.
    """

    def __init__(self, names: list[str], rejection: float):
        super().__init__(names)
        self.rejection = rejection

    def forward(self, scores: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(self._with_rejection(scores), labels)

    def metrics(self) -> Metrics:
        return RejectingMetrics(self.names, self.rejection)

    def probabilities(self, scores: Tensor) -> Tensor:
        """Return the probabilities of the classes, whose sum is 1 less that of "none of them"."""
        return self._with_rejection(scores).softmax(1)[:, :-1]

    def combine(self, scores: list[Tensor]) -> Tensor:
        # "None of them" keeps its score of -rejection, the others their distance from it.
        of_classes = super().combine(scores)
        rejected = 1 - of_classes.exp().sum(1, keepdim=True)
        return of_classes - scores_of(rejected) - self.rejection

    def _with_rejection(self, scores: Tensor) -> Tensor:
        return F.pad(at_least_float32(scores), (0, 1), value=-self.rejection)


class OneHotError(ClassCriterion):
    """Squared difference between scores and the label's one-hot vector: regression as classifier (C5)."""

    def __init__(self, names: list[str], reduction: str):
        super().__init__(names)
        self.reduction = reduction

    def forward(self, scores: Tensor, labels: Tensor) -> Tensor:
        scores = at_least_float32(scores)
        targets = F.one_hot(labels, scores.shape[1]).to(scores.dtype)
        return reduced((scores - targets).square(), self.reduction)

    def probabilities(self, scores: Tensor) -> Tensor:
        positive = scores.float().clamp(min=0)
        # Where no score is positive, the softmax is used, under which larger scores are more probable.
        positive = torch.where(positive.sum(1, keepdim=True) > 0, positive, scores.float().softmax(1))
        return positive / positive.sum(1, keepdim=True)
