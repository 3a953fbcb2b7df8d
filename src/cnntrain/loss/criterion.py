"""Base class of losses: a mean over the batch to minimize, and the interpretation of a network's scores."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from ..metrics.accumulator import Metrics


class Criterion(nn.Module, ABC):
    """Loss module: scores (N, outputs), labels → mean loss over the batch.

    `outputs` is the number of scores that a network must return; `names` are those of the classes,
    attributes or values of the labels. Statistics of training labels are held in buffers, so that they are
    stored in every checkpoint.
    """

    # Name of the metric reported in training, which `primary_metric` returns for each image.
    primary_metric_name = "accuracy"

    def __init__(self, names: list[str], outputs: int | None = None):
        super().__init__()
        self.names = names
        self.outputs = len(names) if outputs is None else outputs

    @abstractmethod
    def forward(self, scores: Tensor, labels: Tensor) -> Tensor:
        """Return the mean loss over the batch, in float32 at least."""

    @abstractmethod
    def primary_metric(self, scores: Tensor, labels: Tensor) -> Tensor:
        """Return the primary metric of each image, float (N,)."""

    @abstractmethod
    def metrics(self) -> Metrics:
        """Return an empty accumulator of metrics over a split."""

    def weight(self, labels: Tensor) -> float | Tensor:
        """Return the weight of a batch in a mean over batches: by default its number of images."""
        return float(len(labels))

    def predictions(self, scores: Tensor) -> Tensor:
        """Return the predictions that metrics compare with labels; by default the scores."""
        return scores

    def probabilities(self, scores: Tensor) -> Tensor:
        """Return the results for users: probabilities of classes or attributes, or values."""
        return self.predictions(scores)

    @abstractmethod
    def combine(self, scores: list[Tensor]) -> Tensor:
        """Return predictions for metrics, averaged over several score tensors of the same images."""

    def adapt_network(self, network: nn.Module) -> None:
        """Modify a new network where this loss needs more than a last layer of `outputs` scores."""

    def check_statistics(self, target: str) -> None:
        """Raise an exception where statistics of a checkpoint do not fit the scores.

        target: the kind of the labels.
        """
        labels = torch.zeros(1, dtype=torch.int64) if target == "classes" else torch.zeros(1, len(self.names))
        self(torch.zeros(1, self.outputs), labels)


def reduced(losses: Tensor, reduction: str) -> Tensor:
    """Return the mean over the batch of losses (N, V), each image's V losses being reduced first (C5).

    reduction: "sum", "mean" or "half_sum" of an image's losses.
    """
    if reduction == "mean":
        return losses.mean()
    total = losses.sum(1).mean()
    return total / 2 if reduction == "half_sum" else total


def at_least_float32(scores: Tensor) -> Tensor:
    """Return scores in float32, or unchanged if they are more precise."""
    return scores.to(torch.promote_types(scores.dtype, torch.float32))
