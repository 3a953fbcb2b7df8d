"""Heads that are computed, not trained, by scikit-learn, from the frozen features of a network (job=head)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import minimize_scalar
from torch import Tensor, nn

from ..data.batches import Batches
from ..errors import ConfigError
from ..model.fine_tuning import heads
from ..model.nearest_neighbours import NearestNeighbours
from ..preprocessing.preprocess import Preprocess
from .device import Compute

# The factors on scores of ridge regression among which the one for probabilities is searched.
LEAST_FACTOR, LARGEST_FACTOR = 0.1, 1000.0


@dataclass(frozen=True)
class Features:
    """The inputs of a network's head (N, D) in float32, with the labels of the images (N,), on the CPU."""

    values: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Head:
    """A head, the value of its setting, and its error and loss on the validation images."""

    module: nn.Module
    value: float
    error: float
    loss: float


def linear_head(network: nn.Module) -> tuple[str, nn.Linear]:
    """Return the name and the layer of a network's head; raises ConfigError unless it is one linear layer."""
    names = heads(network)
    layer = network.get_submodule(names[0])
    if len(names) > 1 or not isinstance(layer, nn.Linear) or layer.bias is None:
        kind = "several layers" if len(names) > 1 else f"{names[0]}, a {type(layer).__name__}"
        raise ConfigError(
            [f"job=head: needs a network whose last layer is linear, here it is {kind}; write another model"]
        )
    return names[0], layer


@torch.inference_mode()
def features_of(network: nn.Module, preprocess: Preprocess, batches: Batches, compute: Compute) -> Features:
    """Return the features of the images in batches, which are not augmented, in evaluation mode."""
    network.eval()
    _, layer = linear_head(network)
    found, labels = list[Tensor](), list[Tensor]()
    hook = layer.register_forward_pre_hook(lambda module, inputs: found.append(inputs[0].float().cpu()))
    try:
        for images, batch_labels in batches.in_order():
            with compute.autocast():
                network(preprocess(images))
            labels.append(batch_labels.cpu())
    finally:
        hook.remove()
    return Features(torch.cat(found), torch.cat(labels))


def ridge_heads(train: Features, val: Features, classes: int, strengths: list[float]) -> Iterator[Head]:
    """Yield a linear head of ridge regression to targets of ±1 for each strength.

    Features are scaled to a mean squared norm of 1, so that strengths mean the same for every network.
    Scores are multiplied by the factor that makes their softmax fit the validation images best, which changes
    no prediction.
    """
    from sklearn.linear_model import RidgeClassifier

    scale = float(train.values.square().sum(1).mean().sqrt()) or 1.0
    for strength in strengths:
        fitted = RidgeClassifier(alpha=strength).fit((train.values / scale).numpy(), train.labels.numpy())
        weight, bias = np.full((classes, train.values.shape[1]), 0.0), np.full(classes, -1.0)
        coefficients, intercepts = np.atleast_2d(fitted.coef_), np.atleast_1d(fitted.intercept_)
        if len(fitted.classes_) == 2:
            # scikit-learn has one score for two classes, that of the second.
            coefficients = np.concatenate([-coefficients, coefficients])
            intercepts = np.concatenate([-intercepts, intercepts])
        weight[fitted.classes_], bias[fitted.classes_] = coefficients, intercepts
        head = nn.Linear(train.values.shape[1], classes)
        with torch.no_grad():
            head.weight.copy_(torch.from_numpy(weight / scale))
            head.bias.copy_(torch.from_numpy(bias))
            factor = probability_factor(head(val.values), val.labels)
            for tensor in (head.weight, head.bias):
                tensor.mul_(factor)
        yield _measured(head, strength, val)


def neighbour_heads(train: Features, val: Features, classes: int, counts: list[int]) -> Iterator[Head]:
    """Yield a head of nearest neighbours for each count that the training images suffice for."""
    one_hot = F.one_hot(train.labels, classes).float()
    for count in counts:
        if count <= len(train.labels):
            yield _measured(NearestNeighbours(train.values, one_hot, count), count, val)


def probability_factor(scores: Tensor, labels: Tensor) -> float:
    """Return the factor on scores with the least cross-entropy for smoothed labels.

    As in Platt 1999, of N images a label's target is (N + 1)/(N + 2), so that the factor is finite where all
    predictions are right.
    """
    smoothing = 1 / (len(labels) + 2)

    def loss(logarithm: float) -> float:
        return float(F.cross_entropy(scores * float(np.exp(logarithm)), labels, label_smoothing=smoothing))

    bounds = (np.log(LEAST_FACTOR), np.log(LARGEST_FACTOR))
    return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x))


@torch.no_grad()
def _measured(head: nn.Module, value: float, val: Features) -> Head:
    scores = head(val.values)
    error = 1 - float((scores.argmax(1) == val.labels).float().mean())
    return Head(head, value, error, float(F.cross_entropy(scores, val.labels)))
