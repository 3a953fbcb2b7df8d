"""Evidence for findings that the rows of a run do not have: measured once, with its best network."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor, nn

from ..assemble.run import Parts
from ..checks.labels_and_splits import copies_of_training_images
from ..data.image_set import FileImages, ImageSet, MemoryImages
from ..loss.class_losses import ClassCriterion
from ..metrics import ClassMetrics
from ..settings.config_tree import Config
from ..training.device import Compute

# Images of each split that are evaluated.
SAMPLE_IMAGES = 2000
# The evaluation of a split ends after this time, whatever the network.
MAX_SECONDS = 10.0
# Images whose inputs are described.
INPUT_IMAGES = 64
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
        images = splits.parts()[split]
        if len(images):
            sample = _sampled(images)
            batch_size = config.evaluate.batch_size or config.data.batch_size
            scores, inputs = _scores(
                network, step.preprocess, images.subset(sample), parts.compute, batch_size
            )
            sample = sample[: len(scores)]
            if split == "train":
                evidence |= _of_inputs(inputs)
            if isinstance(criterion, ClassCriterion):
                probabilities = criterion.probabilities(scores)[:, : len(splits.names)]
                labels = images.labels[sample]
                evidence |= _of_predictions(split, probabilities, labels, splits.names)
                evidence[f"{split}_suspects"] = _suspects(images, sample, probabilities, splits.names)
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


def _sampled(images: ImageSet) -> Tensor:
    """Return the indices of the images to evaluate, evenly spread and in random order: any part serves."""
    count = min(SAMPLE_IMAGES, len(images))
    spread = torch.arange(count) * len(images) // count
    return spread[torch.randperm(count, generator=torch.Generator().manual_seed(0))]


def _scores(
    network: nn.Module, preprocess: nn.Module, images: ImageSet, compute: Compute, batch_size: int
) -> tuple[Tensor, Tensor]:
    """Return scores of the images, on the CPU, as far as MAX_SECONDS go, and the network's first inputs."""
    scores, first = list[Tensor](), list[Tensor]()
    started = time.perf_counter()
    for chunk in images.chunks(batch_size):
        inputs = preprocess(chunk.to(compute.device))
        if sum(map(len, first)) < INPUT_IMAGES:
            first.append(inputs.float().cpu())
        with compute.autocast():
            scores.append(network(inputs).float().cpu())
        if time.perf_counter() - started > MAX_SECONDS:
            break
    return torch.cat(scores), torch.cat(first)


def _of_inputs(inputs: Tensor) -> dict[str, Any]:
    channels = inputs.transpose(0, 1).flatten(1)
    return {
        "input_mean": inputs.mean().item(),
        "input_deviation": inputs.std().item(),
        "constant_channels": (channels.std(1) == 0).nonzero().flatten().tolist(),
    }


def _of_predictions(split: str, probabilities: Tensor, labels: Tensor, names: list[str]) -> dict[str, Any]:
    """Return accuracy, recall and number of predictions of each class, and labels that are rejected."""
    metrics = ClassMetrics(names)
    metrics.add(probabilities, labels)
    result = metrics.result()
    rejected = int((probabilities.amax(1) > REJECTED * _of_label(probabilities, labels)).sum())
    evidence = {
        f"{split}_accuracy": result.values["accuracy"],
        f"{split}_class_counts": labels.bincount(minlength=len(names)).tolist(),
        f"{split}_recalls": [
            round(recall or 0.0, 4) for recall in result.details["per_class_accuracy"].values()
        ],
        f"{split}_predicted_counts": probabilities.argmax(1).bincount(minlength=len(names)).tolist(),
        f"{split}_rejected": rejected / len(labels),
    }
    if len(names) <= MAX_CONFUSION:
        evidence[f"{split}_confusion"] = result.details["confusion"]
    return evidence


def _suspects(
    images: ImageSet, sample: Tensor, probabilities: Tensor, names: list[str]
) -> list[dict[str, Any]]:
    """Return the images whose labels are rejected most: their file or index, label and prediction."""
    labels = images.labels[sample]
    confidence, predicted = probabilities.max(1)
    of_label = _of_label(probabilities, labels)
    rejected = (confidence > REJECTED * of_label).nonzero().flatten()
    ranked = rejected[of_label[rejected].argsort(stable=True)][:MAX_SUSPECTS].tolist()
    files = images.subset(sample[ranked]).names if isinstance(images, FileImages) else sample[ranked].tolist()
    return [
        {"image": file, "label": names[labels[index]], "predicted": names[predicted[index]]}
        for file, index in zip(files, ranked, strict=True)
    ]


def _of_label(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Return the probability of each image's own label."""
    return probabilities.gather(1, labels[:, None]).flatten()
