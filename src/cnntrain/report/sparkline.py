"""A curve on one line of text, and those of a run as printed after it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from ..findings.run_record import finite
from ..metrics import DISPLAY, format_metric

BARS = "▁▂▃▄▅▆▇█"
WIDTH = 30


def sparkline(values: Sequence[float], width: int = WIDTH) -> str:
    """Return a bar for each value, scaled from the smallest to the largest; of many, the means of parts."""
    known = [value for value in values if math.isfinite(value)]
    count = min(width, len(known))
    if not count:
        return ""
    edges = [round(number * len(known) / count) for number in range(count + 1)]
    means = [statistics.fmean(known[start:end]) for start, end in pairwise(edges)]
    low, high = min(means), max(means)
    scale = (len(BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(BARS[round((mean - low) * scale)] for mean in means)


def curve_lines(steps: list[dict[str, Any]], epochs: list[dict[str, Any]], metric: str | None) -> list[str]:
    """Return a line for the training loss of recorded steps, and one for a validation metric of epochs.

    Each has the curve, its first and its last value. Of a loss that falls a hundredfold, the logarithm is
    drawn.
    """
    losses = finite(steps, "train/data_loss")
    lines = [("train loss", losses, "loss")]
    if metric is not None:
        lines.append((f"val {DISPLAY[metric][0]}", finite(epochs, f"val/{metric}"), metric))
    printed = []
    for label, values, name in lines:
        if len(values) > 1:
            curve = sparkline(_logarithms(values) if name == "loss" else values)
            printed.append(f"{label:<14} {curve}  {_value(name, values[0])} → {_value(name, values[-1])}")
    return printed


def _logarithms(losses: list[float]) -> list[float]:
    """Return the logarithms of losses that span a factor of a hundred, other losses as they are."""
    low, high = min(losses), max(losses)
    return [math.log(loss) for loss in losses] if 0 < low < high / 100 else losses


def _value(name: str, value: float) -> str:
    """Return a metric as it is printed, without its name."""
    return format_metric(name, value).split()[-1]
