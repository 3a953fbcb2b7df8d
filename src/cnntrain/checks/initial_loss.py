"""The loss before training against its theoretical value, and with penalties (K3, K4)."""

from __future__ import annotations

import math

from ..data.splits import Splits
from ..loss.settings import RejectingSoftmax
from ..settings.config_tree import Config
from .check_result import CheckResult

# How far the first loss may be below the value for scores that are all 0, as a fraction of it.
BELOW = 0.1
NO_PENALTY = "the penalty on the weights is 0"


def expected_initial_loss(config: Config, splits: Splits) -> tuple[float, str] | None:
    """Return the loss of a new network in theory, with its formula; None where there is no such value.

    That of equal scores of all classes: 0, or in a network that answers with distances, that of its first
    features.
    """
    names, labels = splits.names, splits.train.labels
    score = config.model.initial_score
    if score and isinstance(config.loss, RejectingSoftmax):
        return config.loss.loss_of_equal_scores(len(names), score)
    if score and config.loss.is_squared_distance:
        return None
    statistics = config.loss.label_statistics(names, labels)
    expected: tuple[float, str] | None = config.loss.initial_loss(names, statistics, labels)
    return expected


def check_initial_loss(loss: float, expected: tuple[float, str] | None, spread: float) -> CheckResult:
    """Return the check of an untrained network's loss.

    expected: the theoretical value and its formula. spread: how far above it the loss may be, as a fraction.
    """
    name = "initial loss"
    details = {"loss": loss, "expected": None if expected is None else expected[0]}
    if expected is None:
        return CheckResult(
            name, None, f"{loss:.4g}; this loss has no theoretical value at the start", details
        )
    if not math.isfinite(loss):
        sentence = f"{loss:.4g}: the inputs or the initial weights are too large, or not finite"
        return CheckResult(name, False, sentence, details)
    value, formula = expected
    numbers = f"{loss:.4g}, in theory {formula} = {value:.4g}"
    if value * (1 - BELOW) <= loss <= value * (1 + spread):
        return CheckResult(name, True, numbers, details)
    if loss > value:
        advice = "scores vary much before training: scale the inputs, or the last layer's initial weights"
    else:
        advice = "the untrained network knows something of the labels: are they in the images?"
    return CheckResult(name, False, f"{numbers}; {advice}", details)


def check_regularization_loss(
    data_loss: float, penalty: float, data_gradient: float, penalty_gradient: float
) -> CheckResult:
    """Return the check that regularization raises the loss (K4) and does not determine the update.

    data_gradient, penalty_gradient: the norms of the gradients of both.
    """
    name = "regularization"
    details = {
        "data_loss": data_loss,
        "regularization_loss": penalty,
        "data_gradient_norm": data_gradient,
        "penalty_gradient_norm": penalty_gradient,
    }
    if not math.isfinite(data_loss):
        return CheckResult(name, None, f"the data loss is {data_loss:.4g}", details)
    if penalty == 0:
        return CheckResult(name, None, NO_PENALTY, details)
    if not 0 < penalty < float("inf"):
        return CheckResult(name, False, f"changes the loss by {penalty:.4g}; a penalty is positive", details)
    numbers = f"raises the loss from {data_loss:.4g} to {data_loss + penalty:.4g}, "
    numbers += f"its gradient is {penalty_gradient:.2g} beside {data_gradient:.2g} of the data loss"
    if penalty_gradient > data_gradient:
        return CheckResult(name, False, f"{numbers}; lower its strength", details)
    return CheckResult(name, True, numbers, details)
