"""Whether a network can learn a few images by heart, without regularization (K5)."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from torch import Tensor

from ..training.training_step import TrainingStep
from .check_result import CheckResult


@dataclass(frozen=True)
class Memorized:
    """How far training on a few images came: loss and mean of the primary metric, at first and at the end."""

    first_loss: float
    loss: float
    metric: float
    steps: int
    complete: bool
    out_of_time: bool = False


def memorize(
    step: TrainingStep, images: Tensor, labels: Tensor, enough: float, steps: int, seconds: float
) -> Memorized:
    """Train on the same few images, uint8 (N, H, W, C), until they are learned by heart.

    complete: the loss has fallen to the fraction `enough` of the first, infinity for any loss, and where the
    metric is an accuracy, it is 1. Stops after `steps` updates or `seconds`. Raises NonFinite.
    """
    is_accuracy = step.criterion.primary_metric_name == "accuracy"
    started = time.perf_counter()
    first = loss = metric = float("nan")
    done = 0
    for number in range(steps):
        result = step.run(number, images, labels, recording=False)
        step.update.skipped.check()
        loss, metric = result.update.data_loss.item(), result.metric_sum.item() / len(labels)
        first = loss if number == 0 else first
        done = number + 1
        if (enough == math.inf or loss <= enough * first) and (not is_accuracy or metric == 1.0):
            return Memorized(first, loss, metric, done, True)
        if time.perf_counter() - started > seconds:
            return Memorized(first, loss, metric, done, False, out_of_time=True)
    return Memorized(first, loss, metric, done, False)


def overfitting_result(
    count: int, metric_name: str, own: Memorized | None, with_adam: Memorized | None
) -> CheckResult:
    """Return the check from the attempts with the configured optimizer, and with Adam if that failed.

    own: None where the configured optimizer diverged.
    """
    name = f"overfits {count} images"
    details = {
        "configured_optimizer": None if own is None else vars(own),
        "adam": None if with_adam is None else vars(with_adam),
    }
    if own is not None and own.complete:
        sentence = f"loss {own.first_loss:.3g} → {own.loss:.2g}, {metric_name} {own.metric:.3g}"
        return CheckResult(name, True, f"{sentence}, in {own.steps} steps", details)
    if own is not None and own.out_of_time:
        sentence = f"loss {own.first_loss:.3g} → {own.loss:.3g} in the {own.steps} steps there was time for"
        return CheckResult(name, None, f"{sentence}; raise check.seconds", details)
    outcome = "diverges"
    if own is not None:
        outcome = f"loss {own.first_loss:.3g} → {own.loss:.3g} in {own.steps} steps"
    attempts = [attempt for attempt in (own, with_adam) if attempt is not None]
    if with_adam is not None and with_adam.complete:
        sentence = f"{outcome}, optim=adam needs {with_adam.steps} steps: change optim.lr or the optimizer"
    elif metric_name == "accuracy" and any(attempt.metric == 1.0 for attempt in attempts):
        # So do networks of a few hundred weights, whose loss cannot fall further.
        sentence = f"{outcome}, at which the accuracy is 1: learned, though the loss falls slowly"
        return CheckResult(name, None, sentence, details)
    else:
        sentence = f"{outcome}, and optim=adam fails too: network, loss and labels do not fit each other"
    return CheckResult(name, False, sentence, details)
