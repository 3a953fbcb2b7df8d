"""Rules on the signals in the network: its inputs, initial weights, activations and gradients."""

from __future__ import annotations

from typing import Any

from ..checks.inputs import MAX_DEVIATION, MAX_MEAN, MIN_DEVIATION, SMALLEST_BATCH
from .finding import POOR_RESULT, SICK_UNITS, Finding
from .optimization import FAIRLY_LEARNED, WELL_LEARNED
from .run_record import Rule, RunRecord

# Fractions of a layer's units: fewer dead rectifiers are the rule in trained networks.
MANY_DEAD, MANY_SATURATED = 0.9, 0.9
# First over last layer's gradient norm, each per weight norm (AutoTrainer, Zhang et al. 2021).
VANISHING, EXPLODING = 1e-3, 1e3
# The first loss over that of guessing: scores of random weights in sound networks are below.
LARGE_FIRST_LOSS = 3.0
# Images whose mean and deviation are steady enough for batch normalization.
USUAL_BATCH = 32
# Deviation of the last hidden layer's activations at the first step.
SMALL_ACTIVATIONS = 1e-3
# A network that has covered this part of the way from chance to no error gets a signal through, if late: it
# guesses for a tenth of the run or more, in which sound ones have begun.
SIGNAL_ARRIVES, LATE_START, AT_GUESSING = 0.5, 0.1, 0.98


def inputs_not_scaled(run: RunRecord) -> Finding | None:
    """The network's inputs are far from mean 0 and deviation 1."""
    mean, deviation = run.evidence.get("input_mean"), run.evidence.get("input_deviation")
    if mean is None or deviation is None:
        return None
    if abs(mean) <= MAX_MEAN and MIN_DEVIATION <= deviation <= MAX_DEVIATION:
        return None
    if run.evidence.get("constant_channels") and deviation < MIN_DEVIATION:
        return None  # there is nothing to scale
    is_standardized = run.config.preprocessing.name == "standardize"
    return Finding(
        "inputs not scaled",
        f"The network's inputs are not scaled: their mean is {mean:.3g} and their deviation {deviation:.3g}, "
        "where 0 and 1 are usual; gradients grow and shrink with them.",
        {"input_mean": mean, "input_deviation": deviation},
        0.95,
        {} if is_standardized else {"preprocessing": "standardize"},
        explains=(
            *POOR_RESULT,
            *SICK_UNITS,
            "diverged",
            "learning rate too high",
            "learning rate too low",
            "gradients clipped",
            "initial weights too large",
            "initial weights too small",
            "vanishing gradients",
            "exploding gradients",
        ),
    )


def units_stay_equal(run: RunRecord) -> Finding | None:
    """All units of a layer have the same weights, so that they are one unit."""
    equal = run.evidence.get("equal_units", {})
    worst = [layer for layer, fraction in equal.items() if fraction >= 0.5]
    if not worst or not run.first_loss:
        return None
    return Finding(
        "symmetric initialization",
        f"Units have equal weights: {equal[worst[0]]:.0%} of those of {worst[0]} are copies of another one. "
        "They started equal, get equal gradients and stay equal.",
        {"equal_units": {layer: equal[layer] for layer in worst}},
        0.97,
        {"initialization": "he"},
        explains=(
            *POOR_RESULT,
            *SICK_UNITS,
            "vanishing gradients",
            "learning rate too low",
            "learning rate too high",
            "initial weights too small",
        ),
    )


def initial_weights_too_large(run: RunRecord) -> Finding | None:
    """The first loss is several times that of guessing."""
    expected, first = run.evidence.get("initial_loss"), run.first_loss
    if not expected or first is None or first < LARGE_FIRST_LOSS * expected:
        return None
    return Finding(
        "initial weights too large",
        f"The first loss is {first:.3g}, that of guessing {expected:.3g}: the initial weights are too "
        "large, and training begins by unlearning them.",
        {"first_loss": first, "guessing": expected, "initialization": run.config.initialization.name},
        0.97 if run.learned < WELL_LEARNED else 0.5,
        {"initialization": _other_initialization(run)},
        explains=(
            *POOR_RESULT,
            *SICK_UNITS,
            "learning rate too high",
            "overfitting",
            "exploding gradients",
            "gradients clipped",
            "diverged",
            "regularization too strong",
            "learning rate too low",
            "some labels wrong",
            "labels cannot be learned",
        ),
    )


def initial_weights_too_small(run: RunRecord) -> Finding | None:
    """The signal is lost on its way through the network, at the first step."""
    waited = epochs_at_guessing(run)
    if not run.steps or (run.learned >= SIGNAL_ARRIVES and waited < LATE_START * len(run.epochs)):
        return None
    deviations = list(run.of_layers("activation_deviation", run.steps[0]).values())
    if not deviations or deviations[-1] >= SMALL_ACTIVATIONS:
        return None
    sentence = (
        f"The signal fades on its way through the network: activations of the last hidden layer differed by "
        f"{deviations[-1]:.1g} at the first step, where about 1 is usual"
    )
    if run.learned >= SIGNAL_ARRIVES:
        sentence += f", and the loss stayed that of guessing for {waited} of {len(run.epochs)} epochs"
    return Finding(
        "initial weights too small",
        f"{sentence}.",
        {"activation_deviations": deviations, "initialization": run.config.initialization.name},
        0.9 if run.learned < SIGNAL_ARRIVES else 0.7,
        {"initialization": _other_initialization(run)},
        explains=(
            *POOR_RESULT,
            *SICK_UNITS,
            "vanishing gradients",
            "learning rate too low",
            "learning rate too high",
        ),
    )


def epochs_at_guessing(run: RunRecord) -> int:
    """Return for how many epochs, from the first on, the training loss was that of guessing."""
    start = run.evidence.get("initial_loss") or run.first_loss or 0.0
    return next((n for n, loss in enumerate(run.train_losses) if loss < AT_GUESSING * start), len(run.epochs))


def gradients_by_depth(run: RunRecord) -> Finding | None:
    """The first layers' gradients are far smaller, or larger, than the last ones' in the first steps."""
    if not run.steps or run.learned >= WELL_LEARNED:
        return None
    norms = data_gradients(run, run.steps[0])
    # A layer that the forward pass does not use has no gradient at all.
    weights = [value for name, value in norms.items() if name.endswith("weight") and value > 0]
    if len(weights) < 4:
        return None
    ratio = weights[0] / weights[-1]
    evidence: dict[str, Any] = {
        "gradient_norms": dict(zip(norms, norms.values(), strict=True)),
        "ratio": ratio,
    }
    if ratio < VANISHING:
        saturating = any(name.startswith("saturated_fraction/") for name in run.steps[0])
        changes = (
            {"model.activation": "relu"} if saturating and hasattr(run.config.model, "activation") else {}
        )
        if not changes:
            changes = {"initialization": _other_initialization(run)}
        return Finding(
            "vanishing gradients",
            f"Gradients vanish with depth: the first layer's is {ratio:.1g} of the last one's, so the first "
            "layers do not learn.",
            evidence,
            0.85,
            changes,
            explains=(*POOR_RESULT, *SICK_UNITS, "learning rate too low"),
        )
    if ratio > EXPLODING:
        return Finding(
            "exploding gradients",
            f"Gradients explode with depth: the first layer's is {ratio:.1g} times the last one's.",
            evidence,
            0.8,
            {"initialization": _other_initialization(run)},
            explains=(*POOR_RESULT, *SICK_UNITS, "diverged", "learning rate too high", "gradients clipped"),
        )
    return None


def data_gradients(run: RunRecord, row: dict[str, Any]) -> dict[str, float]:
    """Return the gradient norm of each tensor less that of its L2 penalty, which is there at any depth."""
    strength, sizes = run.config.regularization.l2, run.of_layers("weight_norm", row)
    norms = run.of_layers("gradient_norm", row)
    return {name: max(0.0, norm - strength * sizes.get(name, 0.0)) for name, norm in norms.items()}


def dead_units(run: RunRecord) -> Finding | None:
    """Most rectified units of a layer are 0 for every validation image."""
    if not run.epochs or run.learned >= WELL_LEARNED:
        return None
    dead = run.of_layers("dead_units", run.epochs[-1])
    worst = [layer for layer, fraction in dead.items() if fraction >= MANY_DEAD]
    if not worst:
        return None
    return Finding(
        "dead units",
        f"Units are dead: {dead[worst[0]]:.0%} of those of {worst[0]} are 0 for all validation images, and "
        "get no gradient any more.",
        {"dead_units": dead},
        0.7,
        {"optim.lr": float(f"{run.config.optim.lr / 5:.1g}")} if hasattr(run.config.optim, "lr") else {},
        explains=POOR_RESULT,
    )


def saturated_units(run: RunRecord) -> Finding | None:
    """Most activations of tanh or sigmoid lie where they are flat."""
    if not run.epochs or run.learned >= FAIRLY_LEARNED:
        return None
    saturated = run.of_layers("saturated_activations", run.epochs[-1])
    worst = [layer for layer, fraction in saturated.items() if fraction >= MANY_SATURATED]
    if not worst:
        return None
    return Finding(
        "saturated units",
        f"Units are saturated: {saturated[worst[0]]:.0%} of the activations of {worst[0]} lie where the "
        "function is flat, so hardly any gradient passes.",
        {"saturated_activations": saturated},
        0.7,
        {"initialization": "glorot"},
        explains=(*POOR_RESULT, "vanishing gradients"),
    )


def batch_too_small(run: RunRecord) -> Finding | None:
    """The batch is too small for the statistics of batch normalization, or for a steady gradient."""
    batch = run.batch_size
    if not run.evidence.get("batch_normalization") or batch > SMALLEST_BATCH:
        return None
    images = run.evidence.get("train_images") or 2 * USUAL_BATCH
    larger = min(USUAL_BATCH, 2 ** max(0, (images // 2).bit_length() - 1))
    gap = (max(run.train_accuracies, default=0.0)) - max(run.val_accuracies, default=0.0)
    return Finding(
        "batch too small",
        f"Batch normalization takes its statistics from {batch} images, which is too noisy.",
        {"batch_size": batch, "train_minus_val_accuracy": gap},
        0.92 if max(run.val_accuracies, default=0.0) < 0.8 else 0.5,
        {"data.batch_size": larger} if larger > SMALLEST_BATCH else {},
        explains=(
            *POOR_RESULT,
            *SICK_UNITS,
            "learning rate too high",
            "labels cannot be learned",
            "some labels wrong",
        ),
    )


RULES: tuple[Rule, ...] = (
    inputs_not_scaled,
    units_stay_equal,
    initial_weights_too_large,
    initial_weights_too_small,
    gradients_by_depth,
    dead_units,
    saturated_units,
    batch_too_small,
)


def _other_initialization(run: RunRecord) -> str:
    """Return an initialization that keeps the signal: the network's own, or He's where that is used."""
    return "he" if run.config.initialization.name == "default" else "default"
