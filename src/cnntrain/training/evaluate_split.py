"""Loss and metrics over a split, in evaluation mode."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..data.batches import Batches
from ..loss.criterion import Criterion
from ..metrics import error_of, selection_order
from .device import Compute


@dataclass(frozen=True)
class Evaluation:
    """Mean data loss over a split, its metrics by name, and their details (see metrics.accumulator.Result).

    Undefined metrics are None.
    """

    loss: float
    metrics: dict[str, float | None]
    details: dict[str, Any]

    def row(self, prefix: str) -> dict[str, float | None]:
        """Return the loss and all metrics by name, such as val/loss and val/accuracy for the prefix "val"."""
        return {f"{prefix}/{name}": value for name, value in self._values().items()}

    def error(self, name: str) -> float:
        """Return the error by a metric (see `error_of`)."""
        return error_of(name, self._values()[name])

    def order(self, name: str) -> tuple[float, float]:
        """Return what model selection by a metric minimizes, ties included (see `selection_order`)."""
        return selection_order(name, self._values()[name], self.loss)

    def _values(self) -> dict[str, float | None]:
        return {"loss": self.loss, **self.metrics}


@torch.inference_mode()
def evaluate_split(
    network: nn.Module,
    preprocess: Callable[[Tensor], Tensor],
    criterion: Criterion,
    batches: Batches,
    compute: Compute,
    observe: Callable[[Tensor], None] | None = None,
) -> Evaluation:
    """Return data loss and metrics of a network over a split, in evaluation mode: without label smoothing.

    observe: called with the scores of each batch.
    """
    network.eval()
    criterion.eval()
    metrics = criterion.metrics()
    loss_sum = torch.zeros((), dtype=torch.float32, device=compute.device)
    weight_sum = torch.zeros((), dtype=torch.float32, device=compute.device)
    for images, labels in batches.in_order():
        inputs = preprocess(images)
        with compute.autocast():
            scores = network(inputs).float()
        weight = torch.as_tensor(criterion.weight(labels), dtype=torch.float32, device=compute.device)
        # The mean loss of a batch whose classes all have weight 0 is not defined.
        loss_sum += torch.where(weight > 0, criterion(scores, labels) * weight, 0.0)
        weight_sum += weight
        metrics.add(criterion.predictions(scores), labels)
        if observe is not None:
            observe(scores)
    criterion.train()
    result = metrics.result()
    return Evaluation((loss_sum / weight_sum).item(), result.values, result.details)
