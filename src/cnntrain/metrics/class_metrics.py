"""Metrics of one class per image (D7)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .accumulator import Metrics, Result, mean_of_known
from .names import MAX_RANKED_CLASSES, TOP
from .precision_recall import averages, precision_recall
from .ranking import Ranking, log_odds, ranking

MAX_CONFUSION = 2000


class ClassMetrics(Metrics):
    """Accuracy, overall and by class, what rankings by class are worth, and the confusion matrix.

    Predictions are scores (N, K), whose softmax ranks images for each class. The matrix has a row for each
    true class and a column for each predicted one; of more than MAX_CONFUSION classes there is none, as it
    would be larger than the images.
    """

    def __init__(self, names: list[str]):
        super().__init__(names)
        zero = torch.zeros((), dtype=torch.int64)
        self._images = self._predicted = self._correct = self._confusion = self._in_top = zero
        self._ranked = 2 <= len(names) <= MAX_RANKED_CLASSES
        self._scores: list[Tensor] = []
        self._labels: list[Tensor] = []

    def add(self, predictions: Tensor, labels: Tensor) -> None:
        classes, predicted = len(self.names), predictions.argmax(1)
        correct = labels[predicted == labels]
        self._images = self._images.to(labels.device) + labels.bincount(minlength=classes)
        self._predicted = self._predicted.to(labels.device) + predicted.bincount(minlength=classes)
        self._correct = self._correct.to(labels.device) + correct.bincount(minlength=classes)
        if classes <= MAX_CONFUSION:
            pairs = torch.bincount(labels * classes + predicted, minlength=classes**2)
            self._confusion = self._confusion.to(labels.device) + pairs
        if classes > TOP:
            best = predictions.topk(TOP, 1).indices
            self._in_top = self._in_top.to(labels.device) + (best == labels[:, None]).sum()
        if self._ranked:
            self._scores.append(predictions)
            self._labels.append(labels)

    def result(self) -> Result:
        counts = [part.tolist() for part in (self._images, self._predicted, self._correct)]
        entries = [precision_recall(*of_class) for of_class in zip(*counts, strict=True)]
        means = averages(entries)
        images, correct = sum(counts[0]), sum(counts[2])
        values: dict[str, float | None] = {"accuracy": correct / images}
        if len(self.names) > TOP:
            values["top5_accuracy"] = self._in_top.item() / images
        values["balanced_accuracy"] = mean_of_known([entry["recall"] for entry in entries])
        values["macro_f1"] = means["macro"]["f1"]
        if self._ranked:
            rankings = self._rankings()
            values["auroc"] = mean_of_known([one.auroc for one in rankings])
            if len(self.names) == 2:
                values["average_precision"] = rankings[1].average_precision
            for entry, one in zip(entries, rankings, strict=True):
                entry |= {"auroc": one.auroc, "average_precision": one.average_precision}
        per_class = dict(zip(self.names, entries, strict=True))
        details: dict[str, Any] = {"per_class": per_class, "averages": means}
        if len(self.names) <= MAX_CONFUSION:
            details["confusion"] = self._confusion.view(len(self.names), -1).tolist()
        return Result(values, details)

    def _rankings(self) -> list[Ranking]:
        """Return for each class the quality of the ranking of its images before all others."""
        labels, odds = torch.cat(self._labels), log_odds(torch.cat(self._scores))
        if odds.device.type == "mps":  # which has no float64
            labels, odds = labels.cpu(), odds.cpu()
        return [ranking(labels == number, odds[:, number]) for number in range(len(self.names))]


class RejectingMetrics(ClassMetrics):
    """Metrics of classes, and the fraction of images rejected: whose scores are all below -rejection."""

    def __init__(self, names: list[str], rejection: float):
        super().__init__(names)
        self.rejection = rejection
        self._rejected: Tensor | None = None

    def add(self, predictions: Tensor, labels: Tensor) -> None:
        super().add(predictions, labels)
        rejected = (predictions.amax(1) < -self.rejection).sum()
        self._rejected = rejected if self._rejected is None else self._rejected + rejected

    def result(self) -> Result:
        assert self._rejected is not None
        result = super().result()
        rejected = self._rejected.item() / int(self._images.sum())
        return Result(result.values | {"rejected": rejected}, result.details)
