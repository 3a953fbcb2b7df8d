"""Rules of other tools on the same records: AutoTrainer's, and some in SageMaker Debugger's manner.

AutoTrainer (Zhang et al. 2021), as its program has them, with dead units in place of gradient entries that
are 0, which are not recorded. SageMaker Debugger's built-in rules with their published default thresholds,
those whose quantities are recorded.
"""

from __future__ import annotations

import math
from itertools import pairwise

from cnntrain.findings.run_record import RunRecord, finite

# What each rule would have to be called among our findings to be right.
MEANS = {
    "exploding": ("diverged", "learning rate too high", "exploding gradients", "initial weights too large"),
    "vanishing": (
        "vanishing gradients",
        "initial weights too small",
        "symmetric initialization",
        "dead units",
    ),
    "dying ReLU": ("dead units",),
    "oscillating": ("oscillating", "learning rate too high", "momentum too high", "batch too small"),
    "slow convergence": (
        "learning rate too low",
        "stopped too early",
        "gradients clipped",
        "warm-up too long",
        "schedule lowers the rate too early",
        "batch too large",
    ),
    "poor initialization": (
        "initial weights too small",
        "symmetric initialization",
        "initial weights too large",
    ),
    "saturated": ("saturated units",),
    "update ratio": ("learning rate too low", "learning rate too high"),
    "loss not decreasing": ("not learning", "learning rate too low", "learning rate too high"),
    "overfit": ("overfitting", "labels cannot be learned"),
    "class imbalance": ("imbalance", "class never predicted"),
    "inputs": ("inputs not scaled",),
}


def autotrainer(run: RunRecord) -> list[str]:
    """Return the problem that AutoTrainer's rules find, if any."""
    losses = finite(run.epochs, "val/loss")
    if run.status == "diverged" or len(losses) < len(run.epochs) or any(loss >= 1e5 for loss in losses):
        return ["exploding"]
    accuracies = run.train_accuracies
    judged = accuracies[max(0, math.ceil(0.3 * len(accuracies)) - 1) :]
    gains = [after - before for before, after in pairwise(judged)]
    if judged and max(judged) >= 0.7 and any(gain >= 0.01 for gain in gains):
        return []
    if judged and max(judged) >= 0.7 and len(judged) < 2:
        return []
    dead = list(run.of_layers("dead_units", run.epochs[-1]).values()) if run.epochs else []
    if dead and sum(dead) / len(dead) >= 0.7:
        return ["dying ReLU"]
    for row in run.steps:
        norms = run.of_layers("gradient_norm", row)
        weights = [value for name, value in norms.items() if name.endswith("weight")]
        if len(weights) > 1 and weights[-1] > 0:
            ratio = weights[0] / weights[-1]
            if ratio > 70:
                return ["exploding"]
            if ratio < 1e-3 and weights[0] < 1e-4:
                return ["vanishing"]
    turns = sum(
        1
        for (a, b), (_, c) in zip(pairwise(accuracies), pairwise(accuracies[1:]), strict=False)
        if (b - a) * (c - b) < 0 and abs(c - b) >= 0.03
    )
    if turns >= 0.2 * len(accuracies):
        return ["oscillating"]
    return ["slow convergence"]


def debugger(run: RunRecord) -> list[str]:
    """Return the rules in SageMaker Debugger's manner that fire, in the order of its documentation."""
    fired = []
    if run.status == "diverged":
        fired.append("exploding")
    if any(value < 1e-7 for row in run.steps for value in run.of_layers("gradient_norm", row).values()):
        fired.append("vanishing")
    if run.epochs and any(v > 0.5 for v in run.of_layers("dead_units", run.epochs[-1]).values()):
        fired.append("dying ReLU")
    if run.epochs and any(v > 0.5 for v in run.of_layers("saturated_activations", run.epochs[-1]).values()):
        fired.append("saturated")
    if any(value > 10 or value < 1e-8 for value in run.update_ratios):
        fired.append("update ratio")
    losses = [row["train/data_loss"] for row in run.steps if row.get("train/data_loss") is not None]
    if any(later > 0.999 * earlier for earlier, later in pairwise(losses)):
        fired.append("loss not decreasing")
    pairs = [(row.get("train/data_loss"), row.get("val/loss")) for row in run.epochs]
    if any(train and val and (val - train) / train > 0.1 for train, val in pairs):
        fired.append("overfit")
    counts = run.evidence.get("class_counts") or [1]
    if max(counts) > 10 * max(1, min(counts)):
        fired.append("class imbalance")
    mean, deviation = run.evidence.get("input_mean", 0.0), run.evidence.get("input_deviation", 1.0)
    if abs(mean) > 0.2 or not 0.5 < deviation < 2:
        fired.append("inputs")
    return fired


def right(fired: list[str], expected: tuple[str, ...]) -> bool:
    """Return whether one of the rules that fired means one of the findings that are right."""
    return any(set(MEANS[name]) & set(expected) for name in fired)
