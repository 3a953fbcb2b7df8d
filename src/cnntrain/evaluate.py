"""One pass over a split without learning from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .data.batches import Batches
from .device import Compute
from .loss.criterion import Criterion
from .metrics import Result


@dataclass(frozen=True)
class Measured:
    """Mean data loss over a split, and what its metrics say."""

    loss: float
    result: Result

    def row(self, prefix: str) -> dict[str, float]:
        """Return the loss and all values by name, as val/loss and val/accuracy for the prefix "val"."""
        values = {"loss": self.loss} | self.result.values
        return {f"{prefix}/{name}": value for name, value in values.items()}


@torch.inference_mode()
def measure(
    network: nn.Module,
    preprocess: Callable[[Tensor], Tensor],
    criterion: Criterion,
    batches: Batches,
    compute: Compute,
) -> Measured:
    """Return loss and metrics of a network over a split, in evaluation mode (data loss only)."""
    network.eval()
    metrics = criterion.metrics()
    total = torch.zeros((), dtype=torch.float32, device=compute.device)
    weight = torch.zeros((), dtype=torch.float32, device=compute.device)
    for images, labels in batches.in_order():
        inputs = preprocess(images)
        with compute.autocast():
            scores = network(inputs).float()
        counts = criterion.weight(labels)
        total += criterion(scores, labels) * counts
        weight += counts
        metrics.add(criterion.predictions(scores), labels)
    return Measured((total / weight).item(), metrics.result())
