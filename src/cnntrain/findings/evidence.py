"""Evidence for findings that the rows of a run do not have: measured once, with its best network."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor, nn

from ..assemble.run import Parts
from ..checks.data.copies import copies_of_training_images
from ..checks.data.labels import constant_labels
from ..checks.initial_loss import expected_initial_loss
from ..checks.inputs import ROUNDING
from ..data.image_set import FileImages, ImageSet, MemoryImages
from ..instruments.gradient_noise import critical_batch_size
from ..loss.class_losses import ClassCriterion
from ..settings.config_tree import Config
from ..training.device import Compute
from .predictions import mistakes, of_predictions, suspects

# Images of each split that are evaluated.
SAMPLE_IMAGES = 2000
# Batches whose gradients are compared, in networks that have room for so many gradients.
NOISE_BATCHES, MAX_WEIGHTS_FOR_NOISE = 16, 3 * 10**7
# The evaluation of a split ends after this time, whatever the network.
MAX_SECONDS = 10.0
# Images whose inputs are described.
INPUT_IMAGES = 64
# Filters with a smaller side have too few neighbors to tell smooth from random.
MIN_FILTER = 5
# Splits with more values are not searched for copies.
MAX_VALUES_FOR_COPIES = 4 * 10**8


def gather_evidence(config: Config, parts: Parts) -> dict[str, Any]:
    """Return what findings need of data and network, in JSON types; `parts.step` has the best network."""
    with torch.inference_mode():
        evidence = _without_gradients(config, parts)
    return evidence | {"critical_batch_size": _critical_batch_size(parts)}


def _without_gradients(config: Config, parts: Parts) -> dict[str, Any]:
    step, splits = parts.step, parts.splits
    network, criterion = step.network.eval(), step.criterion.eval()
    evidence: dict[str, Any] = {
        "train_images": len(splits.train),
        "batch_normalization": any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in network.modules()),
        "dropout": max((m.p for m in network.modules() if isinstance(m, nn.Dropout)), default=0.0),
        "equal_units": equal_units(network),
        "first_filters_smoothness": first_filters_smoothness(network),
        "constant_labels": constant_labels(splits),
        "images_in_files": isinstance(splits.train, FileImages),
    }
    if splits.train.labels.ndim == 1:
        expected = expected_initial_loss(config, splits)
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
            sample = sampled(images)
            batch_size = config.evaluate.batch_size or parts.config.data.batch_size
            scores, inputs = _scores(
                network, step.preprocess, images.subset(sample), parts.compute, batch_size
            )
            sample = sample[: len(scores)]
            if split == "train":
                evidence |= _of_inputs(inputs)
            if isinstance(criterion, ClassCriterion):
                probabilities = criterion.probabilities(scores)[:, : len(splits.names)]
                labels = images.labels[sample]
                evidence |= of_predictions(split, probabilities, labels, splits.names)
                evidence[f"{split}_suspects"] = suspects(images, sample, probabilities, splits.names)
                evidence[f"{split}_mistakes"] = mistakes(images, sample, probabilities, splits.names)
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


def first_filters_smoothness(network: nn.Module) -> float | None:
    """Return the correlation of neighboring weights in the filters of the first convolution (W4).

    Each filter's weights are taken less their mean in each channel. About 0 for random filters, up to 1 for
    smooth ones; None for filters smaller than MIN_FILTER, which are too small to tell.
    """
    convolution = next((module for module in network.modules() if isinstance(module, nn.Conv2d)), None)
    if convolution is None or min(convolution.kernel_size) < MIN_FILTER:
        return None
    filters = convolution.weight.detach().double().cpu()
    filters = filters - filters.mean((2, 3), keepdim=True)
    pairs = [(filters[..., 1:], filters[..., :-1]), (filters[..., 1:, :], filters[..., :-1, :])]
    products = sum((one * other).sum().item() for one, other in pairs)
    squares = sum(((one**2 + other**2) / 2).sum().item() for one, other in pairs)
    return products / squares if squares else None


def _critical_batch_size(parts: Parts) -> float | None:
    """Return the critical batch size of the training loss at the best network, without dropout."""
    step, network = parts.step, parts.step.network.eval()
    # Some are still frozen where a run ended while its head was trained alone.
    weights = [weight for weight in step.update.weights if weight.requires_grad]
    if len(parts.train) < 2 or sum(weight.numel() for weight in weights) > MAX_WEIGHTS_FOR_NOISE:
        return None
    started = time.perf_counter()
    gradients: list[Tensor] = []
    for images, labels in parts.train.epoch(0, 0, min(NOISE_BATCHES, len(parts.train))):
        with torch.no_grad():
            inputs = step.preprocess(images)
        with parts.compute.autocast():
            scores = network(inputs)
        if not scores.requires_grad:
            return None
        found = torch.autograd.grad(step.criterion(scores.float(), labels), weights, allow_unused=True)
        gradients.append(torch.cat([one.float().flatten().cpu() for one in found if one is not None]))
        if time.perf_counter() - started > MAX_SECONDS / 5:
            break
    if len(gradients) < 2:
        return None
    return critical_batch_size(gradients, parts.train.batch_size)


def sampled(images: ImageSet) -> Tensor:
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
        "constant_channels": (channels.std(1) <= ROUNDING * channels.mean(1).abs().clamp(min=1))
        .nonzero()
        .flatten()
        .tolist(),
    }
