"""The curves of a run, as SVG texts for its page: losses, accuracies, rates, signals by layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ...metrics import DISPLAY
from .svg_element import ALWAYS_BLACK, LABEL_SIZE, TICK_SIZE, colours, empty_axes, svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Row = dict[str, Any]
# The update : weight ratio that is usual (CS231n, lecture notes 3).
USUAL_RATIO = 1e-3
TRAIN, VAL = "#0072b2", "#d55e00"  # told apart in every kind of colour blindness (Okabe and Ito 2008)
# The smoothed loss is a moving average over about so many points.
SMOOTHED_POINTS = 10
MAX_LAYERS_NAMED = 12
# Fewer images in a bin of confidences do not tell how often its predictions are right.
MIN_IMAGES = 5


def loss_curve(steps: list[Row], epochs: list[Row]) -> str | None:
    """Return the data loss of recorded steps, smoothed, and of each epoch in training and validation."""
    points = _column(steps, "epoch", "train/data_loss")
    if not points:
        return None
    figure, axes = empty_axes("epoch", "data loss")
    x, y = zip(*points, strict=True)
    axes.plot(x, y, color=TRAIN, alpha=0.3, linewidth=1)
    axes.plot(x, smoothed(y), color=TRAIN, label="training, smoothed")
    _points(axes, epochs, "val/loss", VAL, "validation")
    if min(y) > 0 and max(y) / min(y) > 100:
        axes.set_yscale("log")
        axes.minorticks_off()
    return svg(figure)


def metric_curve(epochs: list[Row], metric: str) -> str | None:
    """Return the primary metric of each epoch in training and validation, the gap between them shaded."""
    train, val = (_column(epochs, "epoch", f"{split}/{metric}") for split in ("train", "val"))
    if not train:
        return None
    figure, axes = empty_axes("epoch", metric.replace("_", " "))
    _points(axes, epochs, f"train/{metric}", TRAIN, "training, augmented")
    _points(axes, epochs, f"val/{metric}", VAL, "validation")
    if len(val) == len(train):
        x = [epoch for epoch, _ in train]
        axes.fill_between(x, [y for _, y in train], [y for _, y in val], color="gray", alpha=0.15)
    return svg(figure)


def validation_curve(epochs: list[Row], metric: str) -> str | None:
    """Return a metric of each epoch in validation, as it is not measured in training."""
    if not _column(epochs, "epoch", f"val/{metric}"):
        return None
    figure, axes = empty_axes("epoch", DISPLAY[metric][0])
    _points(axes, epochs, f"val/{metric}", VAL, "validation")
    return svg(figure)


def rate_curve(steps: list[Row]) -> str | None:
    """Return learning rate and momentum of the recorded steps."""
    rates, momenta = _column(steps, "epoch", "lr"), _column(steps, "epoch", "momentum")
    if not rates:
        return None
    figure, axes = empty_axes("epoch", "learning rate", 0.86)
    axes.plot(*zip(*rates, strict=True), color=TRAIN)
    axes.set_ylim(bottom=0)
    if momenta:
        second = axes.twinx()
        second.plot(*zip(*momenta, strict=True), color=VAL, linestyle="--")
        second.set_ylabel("momentum (dashed)", fontsize=LABEL_SIZE)
        second.tick_params(labelsize=TICK_SIZE)
        second.set_ylim(0, 1)
    return svg(figure)


def layer_curves(rows: list[Row], kind: str, label: str, logarithmic: bool) -> str | None:
    """Return a line for each layer of one kind of measurement, such as update_ratio, over the run.

    Ratios have a line at the usual value.
    """
    prefix = f"{kind}/"
    names = list(dict.fromkeys(name for row in rows for name in row if name.startswith(prefix)))
    # Of biases and normalization there is a line in metrics.jsonl, not here.
    names = [name for name in names if not name.endswith(".bias")]
    lines = {name.removeprefix(prefix): _column(rows, "epoch", name) for name in names}
    lines = {name: points for name, points in lines.items() if points}
    if logarithmic:
        lines = {name: [(x, y) for x, y in points if y > 0] for name, points in lines.items()}
        lines = {name: points for name, points in lines.items() if points}
    if not lines:
        return None
    figure, axes = empty_axes("epoch", label)
    for number, (colour, (name, points)) in enumerate(zip(colours(len(lines)), lines.items(), strict=True)):
        x, y = zip(*points, strict=True)
        named = len(lines) <= MAX_LAYERS_NAMED or number in (0, len(lines) - 1)
        marker = "o" if len(x) == 1 else None
        axes.plot(x, y, color=colour, linewidth=1, marker=marker, markersize=3, label=name if named else None)
    if kind == "update_ratio":
        axes.axhline(USUAL_RATIO, color="gray", linestyle=":", label="usual: 0.001")
    if logarithmic:
        axes.set_yscale("log")
        axes.minorticks_off()
    else:
        axes.set_ylim(-0.02, 1.02)
    return svg(figure)


def calibration_curve(calibration: dict[str, Any]) -> str:
    """Return accuracy over confidence in bins beside the diagonal, on which a calibrated network lies."""
    bins = [one for one in calibration["bins"] if one["images"] >= MIN_IMAGES]
    figure, axes = empty_axes("confidence", "accuracy")
    axes.plot([0, 1], [0, 1], color="gray", linestyle=":", label="calibrated")
    x, y = [one["confidence"] for one in bins], [one["accuracy"] for one in bins]
    axes.plot(x, y, color=VAL, marker="o", markersize=3, label="validation")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    return svg(figure)


def confusion_picture(confusion: list[list[int]], names: Sequence[str]) -> str:
    """Return the confusion matrix, each row divided by its sum, the counts written in the cells."""
    from matplotlib.figure import Figure

    side = max(4.0, 0.4 * len(names) + 1.2)
    figure = Figure(figsize=(side, side))
    figure.subplots_adjust(left=0.2, right=0.98, bottom=0.2, top=0.98)
    axes = figure.subplots()
    shares = [[count / max(1, sum(row)) for count in row] for row in confusion]
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    shortened = [name if len(name) <= 12 else f"{name[:11]}…" for name in names]
    axes.set_xticks(range(len(names)), shortened, rotation=90)
    axes.set_yticks(range(len(names)), shortened)
    axes.set_xlabel("predicted", fontsize=LABEL_SIZE)
    axes.set_ylabel("true class", fontsize=LABEL_SIZE)
    axes.tick_params(labelsize=TICK_SIZE)
    for row, counts in enumerate(confusion):
        for column, count in enumerate(counts):
            if count:
                colour = "white" if shares[row][column] > 0.5 else ALWAYS_BLACK
                axes.text(column, row, str(count), ha="center", va="center", color=colour, fontsize=8)
    return svg(figure)


def smoothed(values: Sequence[float]) -> list[float]:
    """Return the exponential moving average of values, corrected for its start; of few, the values."""
    past = max(0.0, 1 - SMOOTHED_POINTS / max(1, len(values)))
    past = min(past, 1 - 1 / SMOOTHED_POINTS)
    average, weight, found = 0.0, 0.0, []
    for value in values:
        average = past * average + (1 - past) * value
        weight = past * weight + (1 - past)
        found.append(average / weight)
    return found


def _column(rows: list[Row], x: str, y: str) -> list[tuple[float, float]]:
    """Return the points of two columns where both are finite numbers."""
    pairs = [(row.get(x), row.get(y)) for row in rows]
    return [(a, b) for a, b in pairs if a is not None and b is not None and math.isfinite(b)]


def _points(axes: Axes, rows: list[Row], name: str, colour: str, label: str) -> None:
    points = _column(rows, "epoch", name)
    if points:
        axes.plot(*zip(*points, strict=True), color=colour, marker="o", markersize=3, label=label)
