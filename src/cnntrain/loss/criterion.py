"""What every loss has: a mean over the batch to minimize, and what a network's scores mean under it."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from ..metrics import Metrics


class Criterion(nn.Module, ABC):
    """scores (N, outputs), labels → mean loss over the batch.

    `outputs` is the number of scores that a network has to give; `names` are those of the classes,
    attributes or values of the labels. Whatever is learnt from training labels lies in buffers, so that
    it is stored in every checkpoint.
    """

    # The metric that is followed in training: what `primary_metric` returns for each image.
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
        """Return an empty measurement of a whole split."""

    def weight(self, labels: Tensor) -> Tensor:
        """Return how much a batch counts in a mean over batches: by its images, unless they are weighted."""
        return torch.tensor(float(len(labels)), device=labels.device)

    def predictions(self, scores: Tensor) -> Tensor:
        """Return what the metrics compare with labels; by default the scores themselves."""
        return scores

    def probabilities(self, scores: Tensor) -> Tensor:
        """Return what a user is told: probabilities of classes or attributes, or values."""
        return self.predictions(scores)

    @abstractmethod
    def combine(self, scores: list[Tensor]) -> Tensor:
        """Return what the metrics compare with labels, averaged over several scores for the same images."""

    def adapt_network(self, network: nn.Module) -> None:
        """Fit a new network to this loss, where its last layer alone cannot know how."""


def reduced(losses: Tensor, reduction: str) -> Tensor:
    """Return the mean over the batch of an image's losses (N, V), brought to one number each (C5).

    reduction: "sum" of them, their "mean", or "half_sum".
    """
    if reduction == "mean":
        return losses.mean()
    total = losses.sum(1).mean()
    return total / 2 if reduction == "half_sum" else total


def at_least_float32(scores: Tensor) -> Tensor:
    """Return scores in float32, or as they are where they are more precise."""
    return scores.to(torch.promote_types(scores.dtype, torch.float32))
