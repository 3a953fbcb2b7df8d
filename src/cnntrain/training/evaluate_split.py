"""Loss and metrics over a split, in evaluation mode."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..data.batches import Batches
from ..data.share import Share
from ..loss.criterion import Criterion
from ..metrics import error_of, selection_order
from .device import Compute
from .process_group import ALONE, ProcessGroup


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
    group: ProcessGroup = ALONE,
) -> Evaluation:
    """Return data loss and metrics of a network over a split, in evaluation mode: without label smoothing.

    observe: called with the scores of each batch. group: processes that compute the scores of its batches
    together; each returns what one process would.
    """
    network.eval()
    criterion.eval()
    scored = _scores(network, preprocess, batches, compute, group.share)
    if group.size > 1:
        scored = iter(group.gather([(scores.cpu(), labels.cpu()) for scores, labels in scored]))
    own = _evaluation(criterion, scored, compute, observe) if group.is_first else None
    criterion.train()
    shared: Evaluation = group.broadcast(own)
    return shared


def _scores(
    network: nn.Module,
    preprocess: Callable[[Tensor], Tensor],
    batches: Batches,
    compute: Compute,
    share: Share,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the scores and labels of each batch of a share of them."""
    for images, labels in batches.in_order(share):
        inputs = preprocess(images)
        with compute.autocast():
            scores = network(inputs).float()
        yield scores, labels


def _evaluation(
    criterion: Criterion,
    scored: Iterator[tuple[Tensor, Tensor]],
    compute: Compute,
    observe: Callable[[Tensor], None] | None,
) -> Evaluation:
    """Return loss and metrics of the scores and labels of all batches of a split."""
    metrics = criterion.metrics()
    loss_sum = torch.zeros((), dtype=torch.float32, device=compute.device)
    weight_sum = torch.zeros((), dtype=torch.float32, device=compute.device)
    for scores, labels in scored:
        scores, labels = scores.to(compute.device), labels.to(compute.device)
        weight = torch.as_tensor(criterion.weight(labels), dtype=torch.float32, device=compute.device)
        # The mean loss of a batch whose classes all have weight 0 is not defined.
        loss_sum += torch.where(weight > 0, criterion(scores, labels) * weight, 0.0)
        weight_sum += weight
        metrics.add(criterion.predictions(scores), labels)
        if observe is not None:
            observe(scores)
    result = metrics.result()
    return Evaluation((loss_sum / weight_sum).item(), result.values, result.details)
