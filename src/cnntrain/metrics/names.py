"""The metrics by name: which of them a target has, which are better when lower, how they are printed."""

from __future__ import annotations

import math

# Top-5 accuracy is measured of more classes than this.
TOP = 5
# Of more classes, images are not ranked: it takes 4 bytes an image and class, and a sort for each class.
MAX_RANKED_CLASSES = 20
# As trainer.best_by: the primary metric of the loss.
AUTO = "auto"
# What the best epoch can be chosen by; `selectable` says which of them a target has.
SELECTABLE = (
    "accuracy",
    "loss",
    "balanced_accuracy",
    "macro_f1",
    "auroc",
    "average_precision",
    "top5_accuracy",
    "mean_absolute_error",
    "r2",
)
# Of these, lower values are better; all others are at most 1.
LOWER_IS_BETTER = ("loss", "mean_absolute_error")
# The printed name of each metric, and whether it is a fraction, printed in percent.
DISPLAY = {
    "loss": ("loss", False),
    "accuracy": ("accuracy", True),
    "top5_accuracy": ("top-5", True),
    "balanced_accuracy": ("balanced accuracy", True),
    "macro_f1": ("macro F1", True),
    "auroc": ("AUROC", True),
    "average_precision": ("average precision", True),
    "rejected": ("rejected", True),
    "mean_absolute_error": ("mean absolute error", False),
    "r2": ("R²", False),
}
# Of these, a line of a terminal has only the one by which the best epoch is chosen.
NOT_PRINTED = ("balanced_accuracy", "macro_f1", "auroc", "average_precision")


def selectable(target: str, count: int | None) -> list[str]:
    """Return the metrics by which the best epoch can be chosen, the primary one first.

    target: the kind of the labels. count: the number of classes, attributes or values, None where it is
    not known yet, which leaves out nothing.
    """
    if target == "attributes":
        return ["accuracy", "loss", "macro_f1", "auroc", "average_precision"]
    if target == "values":
        return ["mean_absolute_error", "loss", "r2"]
    names = ["accuracy", "loss", "balanced_accuracy", "macro_f1"]
    names += ["auroc"] if count is None or 2 <= count <= MAX_RANKED_CLASSES else []
    names += ["average_precision"] if count is None or count == 2 else []
    names += ["top5_accuracy"] if count is None or count > TOP else []
    return names


def error_of(name: str | None, value: float | None) -> float:
    """Return what model selection minimizes: the metric if lower is better, else 1 less it.

    Infinity for one that is undefined or NaN.
    """
    if value is None or math.isnan(value):
        return math.inf
    return value if name in LOWER_IS_BETTER else 1 - value


def selection_order(name: str | None, value: float | None, loss: float | None) -> tuple[float, float]:
    """Return what model selection minimizes: the error by a metric, and where it is equal the loss.

    On few validation images many epochs are equal by accuracy. A loss that is unknown or NaN is infinity.
    """
    return error_of(name, value), error_of("loss", loss)


def value_of_error(name: str, error: float) -> float:
    """Return the metric whose `error_of` is this."""
    return error if name in LOWER_IS_BETTER else 1 - error


def printed(names: list[str], best_by: str | None) -> list[str]:
    """Return those of a split's metrics that a line of a terminal has; best_by: the one chosen by,
    if any."""
    return [name for name in names if name == best_by or name not in NOT_PRINTED]


def format_metric(name: str, value: float | None) -> str:
    """Return a metric with its name as printed: "accuracy 98.89%"; one that is undefined as a dash."""
    label, is_fraction = DISPLAY[name]
    if value is None:
        return f"{label} –"
    return f"{label} {value:.2%}" if is_fraction else f"{label} {format_number(value)}"


def format_number(value: float) -> str:
    """Return a loss or an error with four decimals, large ones with four digits."""
    return f"{value:.4f}" if abs(value) < 1e6 else f"{value:.4g}"
