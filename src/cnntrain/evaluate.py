"""One pass over a split without learning from it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .data.batches import Batches
from .data.preprocessing import Preprocess
from .device import Compute


@dataclass(frozen=True)
class Measured:
    """Mean loss and accuracy over a split, and the confusion matrix (row: true class, column: predicted)."""

    loss: float
    accuracy: float
    confusion: Tensor

    def per_class_accuracy(self) -> list[float | None]:
        """Return the share of each class's images that were recognized; None for classes without images."""
        images = self.confusion.sum(1).tolist()
        right = self.confusion.diagonal().tolist()
        return [hit / count if count else None for hit, count in zip(right, images, strict=True)]


@torch.inference_mode()
def measure(
    network: nn.Module,
    preprocess: Preprocess,
    loss: nn.Module,
    batches: Batches,
    classes: int,
    compute: Compute,
) -> Measured:
    """Return loss, accuracy and confusion of a network over a split, in evaluation mode (data loss only)."""
    network.eval()
    confusion = torch.zeros(classes * classes, dtype=torch.int64, device=compute.device)
    total = torch.zeros((), dtype=torch.float32, device=compute.device)
    images_seen = 0
    for images, labels in batches.in_order():
        inputs = preprocess(images)
        with compute.autocast():
            scores = network(inputs).float()
        total += loss(scores, labels) * len(labels)
        confusion += torch.bincount(labels * classes + scores.argmax(1), minlength=classes * classes)
        images_seen += len(labels)
    matrix = confusion.view(classes, classes).cpu()
    accuracy = matrix.diagonal().sum().item() / images_seen
    return Measured(total.item() / images_seen, accuracy, matrix)
