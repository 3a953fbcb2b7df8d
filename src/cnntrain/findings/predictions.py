"""What predictions on a sample of a split tell: recalls, mistakes, rejected labels, calibration."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..data.image_set import ImageSet
from ..metrics.class_metrics import ClassMetrics

# A label is rejected by the network if another class has a probability higher than this times its own. Wrong
# labels are; in mistakes, the right class is usually not far behind (in the manner of Northcutt et al. 2021).
REJECTED = 7.0
MAX_SUSPECTS = 20
MAX_MISTAKES = 12
MAX_CONFUSION = 30
# Bins of equal width over the confidence, as in Guo et al. 2017.
CALIBRATION_BINS = 10


def of_predictions(split: str, probabilities: Tensor, labels: Tensor, names: list[str]) -> dict[str, Any]:
    """Return accuracy, recall and number of predictions of each class, calibration, and rejected labels.

    probabilities (N, K), labels int64 (N,); in JSON types, by names that begin with the split's.
    """
    metrics = ClassMetrics(names)
    metrics.add(probabilities, labels)
    result = metrics.result()
    rejected = int((probabilities.amax(1) > REJECTED * _of_label(probabilities, labels)).sum())
    evidence = {
        f"{split}_accuracy": result.values["accuracy"],
        f"{split}_class_counts": labels.bincount(minlength=len(names)).tolist(),
        f"{split}_recalls": [
            round(entry["recall"] or 0.0, 4) for entry in result.details["per_class"].values()
        ],
        f"{split}_predicted_counts": probabilities.argmax(1).bincount(minlength=len(names)).tolist(),
        f"{split}_rejected": rejected / len(labels),
        f"{split}_calibration": calibration(probabilities, labels),
    }
    if len(names) <= MAX_CONFUSION:
        evidence[f"{split}_confusion"] = result.details["confusion"]
    return evidence


def calibration(probabilities: Tensor, labels: Tensor) -> dict[str, Any]:
    """Return the expected calibration error, and images, mean confidence and accuracy of each bin.

    The error is the mean of |accuracy - confidence| over the bins, each weighted by its images (Guo et al.
    2017). Bins without images have None.
    """
    confidence, predicted = probabilities.max(1)
    right = (predicted == labels).double()
    bins = (confidence * CALIBRATION_BINS).long().clamp(0, CALIBRATION_BINS - 1)
    counts = bins.bincount(minlength=CALIBRATION_BINS)
    confidences = torch.zeros(CALIBRATION_BINS, dtype=torch.float64).index_add_(0, bins, confidence.double())
    accuracies = torch.zeros(CALIBRATION_BINS, dtype=torch.float64).index_add_(0, bins, right)
    error = (accuracies - confidences).abs().sum() / len(labels)
    rows = zip(counts.tolist(), (confidences / counts).tolist(), (accuracies / counts).tolist(), strict=True)
    return {
        "error": error.item(),
        "bins": [
            {"images": count, "confidence": mean, "accuracy": accuracy}
            if count
            else {"images": 0, "confidence": None, "accuracy": None}
            for count, mean, accuracy in rows
        ],
    }


def suspects(
    images: ImageSet, sample: Tensor, probabilities: Tensor, names: list[str]
) -> list[dict[str, Any]]:
    """Return the images whose labels are rejected most, as `_described`."""
    confidence = probabilities.amax(1)
    of_label = _of_label(probabilities, images.labels[sample])
    rejected = (confidence > REJECTED * of_label).nonzero().flatten()
    ranked = rejected[of_label[rejected].argsort(stable=True)][:MAX_SUSPECTS]
    return _described(images, sample, probabilities, names, ranked)


def mistakes(
    images: ImageSet, sample: Tensor, probabilities: Tensor, names: list[str]
) -> list[dict[str, Any]]:
    """Return the wrong predictions of highest probability, as `_described`."""
    confidence, predicted = probabilities.max(1)
    wrong = (predicted != images.labels[sample]).nonzero().flatten()
    ranked = wrong[confidence[wrong].argsort(descending=True, stable=True)][:MAX_MISTAKES]
    return _described(images, sample, probabilities, names, ranked)


def _described(
    images: ImageSet, sample: Tensor, probabilities: Tensor, names: list[str], chosen: Tensor
) -> list[dict[str, Any]]:
    """Return for each chosen image of the sample what is known of it.

    image: its file, or its position in the stored arrays, such as x_train, whatever was cut off for
    validation. index: that in the split. label, predicted, confidence.
    """
    indices = sample[chosen]
    confidence, predicted = probabilities[chosen].max(1)
    labels = images.labels[indices]
    files = images.subset(indices).sources(0, len(indices))
    return [
        {"image": file, "index": index, "label": names[label], "predicted": names[guess], "confidence": sure}
        for file, index, label, guess, sure in zip(
            files,
            indices.tolist(),
            labels.tolist(),
            predicted.tolist(),
            [round(value, 4) for value in confidence.tolist()],
            strict=True,
        )
    ]


def _of_label(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Return the probability of each image's own label."""
    return probabilities.gather(1, labels[:, None]).flatten()
