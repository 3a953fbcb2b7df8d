"""Evidence for findings that the rows of a run do not have: measured once, with its best network."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..assemble.run import Parts
from ..checks.labels_and_splits import copies_of_training_images
from ..data.image_set import ImageSet, MemoryImages
from ..loss.class_losses import ClassCriterion
from ..settings.config_tree import Config
from ..training.device import Compute

# Images of each split that are evaluated.
SAMPLE_IMAGES = 2000
# A label is rejected by the network if another class has a probability higher than this times its own. Wrong
# labels are; in mistakes, the right class is usually not far behind (in the manner of Northcutt et al. 2021).
REJECTED = 7.0
MAX_SUSPECTS = 20
MAX_CONFUSION = 30
# Splits with more values are not searched for copies.
MAX_VALUES_FOR_COPIES = 4 * 10**8


@torch.inference_mode()
def gather_evidence(config: Config, parts: Parts) -> dict[str, Any]:
    """Return what findings need of data and network, in JSON types; `parts.step` has the best network."""
    step, splits = parts.step, parts.splits
    network, criterion = step.network.eval(), step.criterion.eval()
    evidence: dict[str, Any] = {
        "train_images": len(splits.train),
        "batch_normalization": any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in network.modules()),
        "dropout": max((m.p for m in network.modules() if isinstance(m, nn.Dropout)), default=0.0),
        "equal_units": equal_units(network),
    }
    if splits.train.labels.ndim == 1:
        statistics = config.loss.label_statistics(splits.names, splits.train.labels)
        expected = config.loss.initial_loss(splits.names, statistics, splits.train.labels)
        evidence["initial_loss"] = None if expected is None else expected[0]
        evidence["class_counts"] = splits.train.labels.bincount(minlength=len(splits.names)).tolist()
    values = sum(len(part) for part in splits.parts().values()) * splits.train.shape[0] ** 2
    if (
        isinstance(splits.train, MemoryImages)
        and values < MAX_VALUES_FOR_COPIES
        and splits.train.shape[0] > 4
    ):
        evidence["copies"] = {
            split: len(found) / len(splits.parts()[split])
            for split, found in copies_of_training_images(splits).items()
        }
    for split in ("train", "val"):
        images = _sample(splits.parts()[split])
        if len(images):
            scores, inputs = _scores(network, step.preprocess, images, parts.compute, config.data.batch_size)
            if split == "train":
                evidence |= _of_inputs(inputs)
            if isinstance(criterion, ClassCriterion):
                probabilities = criterion.probabilities(scores)[:, : len(splits.names)]
                evidence |= _of_predictions(split, probabilities, images.labels, splits.names)
    return evidence


def equal_units(network: nn.Module) -> dict[str, float]:
    """Return, for each layer, the fraction of its units whose incoming weights equal those of another one."""
    fractions = {}
    for name, module in network.named_modules():
        weight = getattr(module, "weight", None)
        if isinstance(module, nn.Conv2d | nn.Linear) and isinstance(weight, Tensor) and len(weight) > 1:
            rows = weight.detach().float().flatten(1).cpu()
            fractions[name] = 1 - len(torch.unique(rows, dim=0)) / len(rows)
    return fractions


def _sample(images: ImageSet) -> ImageSet:
    count = min(SAMPLE_IMAGES, len(images))
    return images.subset(torch.arange(count) * len(images) // max(1, count))


def _scores(
    network: nn.Module, preprocess: nn.Module, images: ImageSet, compute: Compute, batch_size: int
) -> tuple[Tensor, Tensor]:
    """Return the scores of all images, on the CPU, and the network's inputs of the first batch."""
    scores, first = [], None
    for chunk in images.chunks(batch_size):
        inputs = preprocess(chunk.to(compute.device))
        first = inputs if first is None else first
        with compute.autocast():
            scores.append(network(inputs).float().cpu())
    assert first is not None
    return torch.cat(scores), first.float().cpu()


def _of_inputs(inputs: Tensor) -> dict[str, Any]:
    channels = inputs.transpose(0, 1).flatten(1)
    return {
        "input_mean": inputs.mean().item(),
        "input_deviation": inputs.std().item(),
        "constant_channels": (channels.std(1) == 0).nonzero().flatten().tolist(),
    }


def _confusion(split: str, predicted: Tensor, labels: Tensor, classes: int) -> dict[str, Any]:
    """Return the confusion matrix of few classes, a row for each true class."""
    if classes > MAX_CONFUSION:
        return {}
    pairs = torch.bincount(labels * classes + predicted, minlength=classes**2)
    return {f"{split}_confusion": pairs.view(classes, classes).tolist()}


def _of_predictions(split: str, probabilities: Tensor, labels: Tensor, names: list[str]) -> dict[str, Any]:
    """Return accuracy, recall and number of predictions of each class, and labels that are rejected."""
    confidence, predicted = probabilities.max(1)
    right = predicted == labels
    counts = labels.bincount(minlength=len(names))
    recalls = labels[right].bincount(minlength=len(names)) / counts.clamp(min=1)
    of_label = probabilities.gather(1, labels[:, None]).flatten()
    rejected = (confidence > REJECTED * of_label).nonzero().flatten()
    ranked = rejected[of_label[rejected].argsort()][:MAX_SUSPECTS].tolist()
    return {
        f"{split}_accuracy": right.float().mean().item(),
        f"{split}_class_counts": counts.tolist(),
        f"{split}_recalls": [round(value, 4) for value in recalls.tolist()],
        f"{split}_predicted_counts": predicted.bincount(minlength=len(names)).tolist(),
        f"{split}_rejected": len(rejected) / len(labels),
        **_confusion(split, predicted, labels, len(names)),
        f"{split}_suspects": [
            {"image": index, "label": names[labels[index]], "predicted": names[predicted[index]]}
            for index in ranked
        ],
    }
