"""Histograms by layer over the run: a picture of values over epochs a layer, darker where more are."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...instruments.histograms import spread
from .svg_element import svg

MAX_SHOWN, COLUMNS = 6, 2
# Letters of a layer's name above its picture, the last ones.
MAX_TITLE = 25
# Values outside of these quantiles, of all rows together, are left out, so that a few do not set the scale.
QUANTILES = (0.005, 0.995)
BINS = 40

Histogram = dict[str, Any]


def histogram_maps(
    rows: list[dict[str, Any]], kind: str, steps_per_epoch: float, epochs_done: float
) -> str | None:
    """Return the histograms of one kind, "activation" or "gradient", of up to MAX_SHOWN layers; None if none.

    rows: those of histograms.jsonl; each stands from its epoch to that of the next, the last to epochs_done.
    Layers are evenly spread from the first to the last.
    """
    names = list(dict.fromkeys(name for row in rows for name in row if name.startswith(f"{kind}/")))
    if len(rows) < 2 or not names:
        return None
    shown = spread(names, MAX_SHOWN)
    from matplotlib.figure import Figure

    lines, columns = math.ceil(len(shown) / COLUMNS), min(COLUMNS, len(shown))
    figure = Figure(figsize=(2.5 * columns, 1.9 * lines + 0.3))
    figure.subplots_adjust(
        left=0.26 / columns,
        right=1 - 0.03 / columns,
        bottom=0.22 / lines,
        top=1 - 0.2 / lines,
        hspace=0.62,
        wspace=0.36,
    )
    grid = figure.subplots(lines, columns, squeeze=False).flatten()
    for axes, name in zip(grid, shown, strict=False):
        found = [(row["step"], row[name]) for row in rows if row.get(name) is not None]
        low, high = common_range([histogram for _, histogram in found])
        density = np.stack([rebinned(histogram, low, high) for _, histogram in found], axis=1)
        # The root shows rare values, which would vanish beside those at 0.
        epochs = [(step - 1) / steps_per_epoch for step, _ in found]
        axes.imshow(
            np.sqrt(density / density.max(0, keepdims=True).clip(min=1e-12)),
            cmap="Blues",
            vmin=0,
            vmax=1,
            origin="lower",
            aspect="auto",
            interpolation="nearest",
            extent=(epochs[0], epochs[-1] + (epochs[-1] - epochs[0]) / max(1, len(epochs) - 1), low, high),
        )
        axes.set_xlim(epochs[0], max(epochs_done, epochs[-1] + 0.02 * (epochs[-1] - epochs[0])))
        title = name.removeprefix(f"{kind}/")
        axes.set_title(title if len(title) <= MAX_TITLE else f"…{title[1 - MAX_TITLE :]}", fontsize=8)
        axes.tick_params(labelsize=7)
        axes.ticklabel_format(axis="y", scilimits=(-2, 3))
        axes.yaxis.get_offset_text().set_fontsize(7)
    for axes in grid[len(shown) :]:
        axes.set_visible(False)
    figure.supxlabel("epoch", fontsize=8)
    return svg(figure)


def common_range(histograms: list[Histogram]) -> tuple[float, float]:
    """Return the QUANTILES of all values together, as far as their histograms tell."""
    edges = [np.linspace(h["low"], h["high"], len(h["counts"]) + 1) for h in histograms]
    centers = np.concatenate([(edge[1:] + edge[:-1]) / 2 for edge in edges])
    weights = np.concatenate([np.array(h["counts"], float) / max(1, sum(h["counts"])) for h in histograms])
    order = centers.argsort()
    below = weights[order].cumsum() / max(weights.sum(), 1e-12)
    low, high = (float(centers[order][np.searchsorted(below, q).clip(max=len(below) - 1)]) for q in QUANTILES)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def rebinned(histogram: Histogram, low: float, high: float) -> NDArray[np.float64]:
    """Return a histogram in BINS bins from `low` to `high`, each value being evenly spread over its bin."""
    counts = np.array(histogram["counts"], float)
    edges = np.linspace(histogram["low"], histogram["high"], len(counts) + 1)
    if histogram["high"] <= histogram["low"]:  # a single value
        edges = np.linspace(histogram["low"] - 1e-9, histogram["low"] + 1e-9, len(counts) + 1)
    cumulative = np.concatenate([[0.0], counts.cumsum()])
    return np.diff(np.interp(np.linspace(low, high, BINS + 1), edges, cumulative))
