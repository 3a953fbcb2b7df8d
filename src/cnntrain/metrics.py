"""Metrics over a split, for each kind of target (D7)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

TOP = 5
MAX_CONFUSION = 2000


@dataclass(frozen=True)
class Result:
    """Metrics over a split by name, the primary one first; `error` is what model selection minimizes.

    details: metrics of each class, attribute or value, in JSON types.
    """

    values: dict[str, float]
    error: float
    details: dict[str, Any]


class Metrics(ABC):
    """Accumulator of predictions and labels, batch by batch, that computes metrics over all of them."""

    def __init__(self, names: list[str]):
        self.names = names

    @abstractmethod
    def add(self, predictions: Tensor, labels: Tensor) -> None:
        """Add a batch of `Criterion.predictions` and labels."""

    @abstractmethod
    def result(self) -> Result:
        """Return the metrics over all batches; synchronizes with the device."""


class ClassMetrics(Metrics):
    """Accuracy, top-5 accuracy (of more than five classes), and the confusion matrix.

    The matrix has a row for each true class and a column for each predicted one; of more than
    MAX_CONFUSION classes there is none, as it would be larger than the images.
    """

    def __init__(self, names: list[str]):
        super().__init__(names)
        self._images = self._correct = self._confusion = self._in_top = torch.zeros((), dtype=torch.int64)

    def add(self, predictions: Tensor, labels: Tensor) -> None:
        classes, predicted = len(self.names), predictions.argmax(1)
        self._images = self._images.to(labels.device) + labels.bincount(minlength=classes)
        self._correct = self._correct.to(labels.device) + labels[predicted == labels].bincount(
            minlength=classes
        )
        if classes <= MAX_CONFUSION:
            pairs = torch.bincount(labels * classes + predicted, minlength=classes**2)
            self._confusion = self._confusion.to(labels.device) + pairs
        if classes > TOP:
            best = predictions.topk(TOP, 1).indices
            self._in_top = self._in_top.to(labels.device) + (best == labels[:, None]).sum()

    def result(self) -> Result:
        counts, correct = self._images.tolist(), self._correct.tolist()
        accuracy = sum(correct) / sum(counts)
        values = {"accuracy": accuracy}
        if len(self.names) > TOP:
            values["top5_accuracy"] = self._in_top.item() / sum(counts)
        per_class = [right / count if count else None for right, count in zip(correct, counts, strict=True)]
        details: dict[str, Any] = {"per_class_accuracy": dict(zip(self.names, per_class, strict=True))}
        if len(self.names) <= MAX_CONFUSION:
            details["confusion"] = self._confusion.view(len(self.names), -1).tolist()
        return Result(values, 1 - accuracy, details)


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
        values = result.values | {"rejected": self._rejected.item() / int(self._images.sum())}
        return Result(values, result.error, result.details)


class _CollectingMetrics(Metrics):
    """Metrics that need all predictions at once."""

    def __init__(self, names: list[str]):
        super().__init__(names)
        self._predictions: list[Tensor] = []
        self._labels: list[Tensor] = []

    def add(self, predictions: Tensor, labels: Tensor) -> None:
        self._predictions.append(predictions)
        self._labels.append(labels)

    def _all(self) -> tuple[Tensor, Tensor]:
        return torch.cat(self._predictions).double().cpu(), torch.cat(self._labels).double().cpu()


class AttributeMetrics(_CollectingMetrics):
    """Accuracy (score > 0 means present) and average precision, per attribute and averaged.

    Average precision, the area under precision over recall, is None for an attribute that no image has, or
    whose scores are not all finite.
    """

    def result(self) -> Result:
        scores, labels = self._all()
        accuracies = ((scores > 0) == (labels > 0.5)).double().mean(0).tolist()
        precisions = [
            average_precision(labels[:, i], scores[:, i])
            if labels[:, i].any() and scores[:, i].isfinite().all()
            else None
            for i in range(len(self.names))
        ]
        accuracy = sum(accuracies) / len(accuracies)
        values = {"accuracy": accuracy} | _mean_of_known("average_precision", precisions)
        details = {
            name: {"accuracy": fraction, "average_precision": precision}
            for name, fraction, precision in zip(self.names, accuracies, precisions, strict=True)
        }
        return Result(values, 1 - accuracy, {"per_attribute": details})


def average_precision(labels: Tensor, scores: Tensor) -> float:
    """Return the area under precision over recall: the sum of (R_n - R_{n-1})·P_n over the thresholds.

    labels (N,) 0 or 1, at least one of them 1; scores (N,). Equal scores share one threshold.
    """
    order = scores.argsort(descending=True)
    hits, ordered = labels[order].cumsum(0), scores[order]
    # Each threshold is after the last of a run of equal scores.
    last = torch.cat([ordered[1:] != ordered[:-1], torch.ones(1, dtype=torch.bool)]).nonzero().flatten()
    precision, recall = hits[last] / (last + 1), hits[last] / hits[-1]
    return float((recall.diff(prepend=recall.new_zeros(1)) * precision).sum())


class ValueMetrics(_CollectingMetrics):
    """Mean absolute error and R², per value and averaged.

    R², the fraction of variance explained, is None for a value that is the same in all images.
    """

    def result(self) -> Result:
        predictions, labels = self._all()
        errors = (predictions - labels).abs().mean(0).tolist()
        totals = (labels - labels.mean(0)).square().sum(0)
        residuals = (predictions - labels).square().sum(0)
        explained = [
            1 - residual / total if total else None
            for residual, total in zip(residuals.tolist(), totals.tolist(), strict=True)
        ]
        error = sum(errors) / len(errors)
        values = {"mean_absolute_error": error} | _mean_of_known("r2", explained)
        details = {
            name: {"mean_absolute_error": mean, "r2": r2}
            for name, mean, r2 in zip(self.names, errors, explained, strict=True)
        }
        return Result(values, error, {"per_value": details})


def _mean_of_known(name: str, values: list[float | None]) -> dict[str, float]:
    """Return {name: mean} of the values that are not None, {} if all are None."""
    known = [value for value in values if value is not None]
    return {name: sum(known) / len(known)} if known else {}


# Of these, lower values are better.
LOWER_IS_BETTER = ("loss", "mean_absolute_error")
# The printed name of each metric, and whether it is a fraction, printed in percent.
DISPLAY = {
    "loss": ("loss", False),
    "accuracy": ("accuracy", True),
    "top5_accuracy": ("top-5", True),
    "rejected": ("rejected", True),
    "average_precision": ("average precision", True),
    "mean_absolute_error": ("mean absolute error", False),
    "r2": ("R²", False),
}


def format_metric(name: str, value: float) -> str:
    """Return a metric with its name as printed: "accuracy 98.89%"."""
    label, is_fraction = DISPLAY[name]
    return f"{label} {value:.2%}" if is_fraction else f"{label} {format_number(value)}"


def format_number(value: float) -> str:
    """Return a loss or an error with four decimals, large ones with four digits."""
    return f"{value:.4f}" if abs(value) < 1e6 else f"{value:.4g}"
