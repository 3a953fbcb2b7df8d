"""The base of metrics over a split: what is added batch by batch, and what comes out."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Result:
    """Metrics over a split by name, the primary one first, None where one is undefined.

    details: metrics of each class, attribute or value, in JSON types.
    """

    values: dict[str, float | None]
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


class CollectingMetrics(Metrics):
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


def mean_of_known(values: list[float | None]) -> float | None:
    """Return the mean of the values that are not None, None if all are."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def defined(value: float | None) -> float | None:
    """Return a metric, None if it is not finite, as of predictions that are not."""
    return value if value is not None and math.isfinite(value) else None
