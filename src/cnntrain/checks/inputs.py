"""The images as the network sees them, and whether its units and scores depend on them."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..instruments.unit_activity import DEAD, SATURATED, UnitActivity
from .check_result import CheckResult

# Inputs beyond these are not scaled: raw bytes have a mean of about 120 and a deviation of about 60.
MAX_MEAN, MIN_DEVIATION, MAX_DEVIATION = 3.0, 0.05, 5.0
ROUNDING = 1e-6
# More than half of a layer's units dead before training. Deep in a network without normalization the
# features of all images point in nearly one direction, and a random unit is 0 for all of them in one of two
# cases: so half of them are dead, and by chance STANDARD_ERRORS more.
MAX_DEAD_FRACTION, MIN_UNITS, MIN_IMAGES, STANDARD_ERRORS = 0.5, 16, 64, 3.0
# Batch statistics of so few images are too noisy: Wu & He 2018 (Group Normalization), figure 1.
SMALLEST_BATCH = 4


def check_inputs(inputs: Tensor) -> CheckResult:
    """Return the check of the network's inputs (N, C, H, W): finite, scaled, no constant channel."""
    name = "inputs"
    values = inputs.float()
    channels = values.transpose(0, 1).flatten(1)
    means, deviations = channels.mean(1), channels.std(1)
    mean, deviation = values.mean().item(), values.std().item()
    smallest, largest = values.min().item(), values.max().item()
    numbers = f"mean {mean:.3g}, deviation {deviation:.3g}, from {smallest:.3g} to {largest:.3g}"
    details = {
        "mean": means.tolist(),
        "deviation": deviations.tolist(),
        "smallest": smallest,
        "largest": largest,
    }
    if not torch.isfinite(values).all():
        return CheckResult(name, False, "not all inputs are finite numbers", {})
    # A constant that was standardized differs from image to image by rounding.
    constant = (deviations <= ROUNDING * means.abs().clamp(min=1)).nonzero().flatten().tolist()
    if constant:
        listed = ", ".join(map(str, constant))
        return CheckResult(name, False, f"{numbers}; channel {listed} is the same in all images", details)
    if abs(mean) > MAX_MEAN or not MIN_DEVIATION <= deviation <= MAX_DEVIATION:
        return CheckResult(name, False, f"{numbers}: not scaled; write preprocessing=standardize", details)
    return CheckResult(name, True, numbers, details)


def check_batch_normalization(network: nn.Module, batch_size: int) -> CheckResult:
    """Return the check that batch normalization has enough images for its statistics."""
    name = "batch normalization"
    layers = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    if not layers:
        return CheckResult(name, None, "the network has none")
    details = {"layers": len(layers), "batch_size": batch_size}
    if batch_size <= SMALLEST_BATCH:
        sentence = f"statistics of {batch_size} images are too noisy; write data.batch_size=16 or more"
        return CheckResult(name, False, sentence, details)
    return CheckResult(name, True, f"{len(layers)} layers, statistics of {batch_size} images", details)


@torch.no_grad()
def check_units(network: nn.Module, inputs: Tensor) -> list[CheckResult]:
    """Return the checks of rectified and saturating units, and of the scores, on a batch of inputs."""
    plain = copy.deepcopy(network)
    turn_off_randomness(plain)
    activity = UnitActivity(plain)
    with activity.around_split():
        scores = plain(inputs.clone())
    row = activity.row()
    # Of a handful of units, or on a handful of images, most may be dead by chance.
    units = activity.units()
    enough = len(inputs) >= MIN_IMAGES
    dead = {
        name: fraction
        for name, fraction in _of_kind(row, DEAD).items()
        if (units[name] >= MIN_UNITS and enough) or fraction == 1
    }
    by_chance = {name: MAX_DEAD_FRACTION + STANDARD_ERRORS * math.sqrt(0.25 / units[name]) for name in dead}
    return [
        _worst("dead units", dead, "units are 0 for all images", "initialization=he", by_chance),
        _worst(
            "saturated units",
            _of_kind(row, SATURATED),
            "activations are saturated",
            "smaller initial weights",
        ),
        check_scores(scores.float()),
    ]


def _of_kind(row: dict[str, float], kind: str) -> dict[str, float]:
    """Return the results of one kind by layer."""
    return {key.partition("/")[2]: value for key, value in row.items() if key.startswith(f"{kind}/")}


def check_scores(scores: Tensor) -> CheckResult:
    """Return the check that scores (N, K) differ from image to image."""
    name = "scores"
    deviation, size = scores.std(0).max().item(), scores.abs().mean().item()
    details = {"deviation_over_images": deviation, "mean_size": size}
    if not torch.isfinite(scores).all():
        return CheckResult(name, False, "not all scores are finite numbers", {})
    if deviation <= 1e-5 * size or deviation == 0:
        sentence = "the same for all images: the network does not depend on its input"
        return CheckResult(name, False, sentence, details)
    return CheckResult(name, True, f"depend on the image: deviation {deviation:.2g} over images", details)


def turn_off_randomness(network: nn.Module) -> None:
    """Let a network use the statistics of each batch but neither dropout nor auxiliary heads."""
    network.eval()
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            module.train()


def _worst(
    name: str, fractions: dict[str, float], what: str, advice: str, limits: dict[str, float] | None = None
) -> CheckResult:
    """Return the check that no layer's fraction is above its limit, 1 always being so.

    limits: by layer; MAX_DEAD_FRACTION for all without them.
    """
    if not fractions:
        return CheckResult(name, None, "no layer of this kind with enough units and images to tell")
    limits = limits or dict.fromkeys(fractions, MAX_DEAD_FRACTION)
    above = [layer for layer, fraction in fractions.items() if fraction == 1 or fraction > limits[layer]]
    layer = max(above or fractions, key=lambda key: fractions[key])
    if above:
        sentence = f"{fractions[layer]:.0%} of the {what} in {layer} before training; try {advice}"
        return CheckResult(name, False, sentence, fractions)
    return CheckResult(name, True, f"at most {fractions[layer]:.0%} of a layer's {what} ({layer})", fractions)
