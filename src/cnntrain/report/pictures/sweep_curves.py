"""The jobs of a sweep in pictures, as SVG texts for its page."""

from __future__ import annotations

import itertools
import statistics

from ...findings.sweep_record import mostly_numbers, number_in
from .run_curves import TRAIN, VAL
from .svg_element import colours, empty_axes, svg

# More values of text than this would be written over each other.
MAX_TICKS = 20
# Grey lines at most, so that the page of a long sweep stays small.
MAX_OTHERS = 200
# The means of values are drawn if there are less than so many values for each job.
REPEATED = 0.7


def job_curves(
    lines: dict[str, list[tuple[float, float]]], named: int, label: str, logarithmic: bool
) -> str | None:
    """Return a line over the epochs for each job, best first; None if there is none.

    The first `named` are coloured, from dark to light, and named; all others are grey.
    """
    lines = {name: points for name, points in lines.items() if points}
    if not lines:
        return None
    others = list(lines.values())[named:]
    values = [y for points in lines.values() for _, y in points]
    lines = dict(list(lines.items())[:named])
    figure, axes = empty_axes("epoch", label)
    for points in others[:MAX_OTHERS]:
        x, y = zip(*points, strict=True)
        alone = len(points) == 1
        axes.plot(x, y, color="0.7", linewidth=0.7, marker="." if alone else None, markersize=3, zorder=1)
    for colour, (name, points) in zip(colours(len(lines)), lines.items(), strict=True):
        x, y = zip(*points, strict=True)
        axes.plot(x, y, color=colour, linewidth=1.2, marker="o", markersize=2, label=name)
    if logarithmic and min(values) > 0 and max(values) / min(values) > 100:
        axes.set_yscale("log")
        axes.minorticks_off()
    return svg(figure)


def best_so_far(values: list[float], lower_is_better: bool, label: str) -> str:
    """Return the metric of each job in their order, and the best up to each."""
    figure, axes = empty_axes("job", label)
    best = list(itertools.accumulate(values, min if lower_is_better else max))
    numbers = range(len(values))
    axes.plot(numbers, values, color=TRAIN, marker="o", markersize=4, alpha=0.6, linestyle="", label="job")
    axes.step(numbers, best, where="post", color=VAL, linewidth=1.4, label="best so far")
    return svg(figure)


def importance_bars(importances: dict[str, float]) -> str:
    """Return a bar for each setting, the most important on top."""
    figure, axes = empty_axes("part of what the settings explain", "")
    keys = list(importances)[::-1]
    leaves = [key.rpartition(".")[2] for key in keys]
    names = leaves if len(set(leaves)) == len(leaves) else keys
    axes.barh(names, [importances[key] for key in keys], color=TRAIN)
    axes.tick_params(axis="y", labelsize=8)
    return svg(figure)


def setting_plot(points: list[tuple[str, float]], key: str, label: str, logarithmic: bool) -> str:
    """Return the metric over the values of a setting: a point for each job, and the means of repeated values.

    Numbers have an axis of their own, and the mean of jobs without a number, such as null, is a line across
    it; other values stand side by side in the order given.
    """
    figure, axes = empty_axes(key, label)
    are_numbers = mostly_numbers(value for value, _ in points)
    if are_numbers:
        others: dict[str, list[float]] = {}
        for value, metric in points:
            if number_in(value) is None:
                others.setdefault(value, []).append(metric)
        for value, metrics in others.items():
            axes.axhline(statistics.fmean(metrics), color=VAL, linestyle=":", linewidth=1.2)
            axes.annotate(
                f"{value[:15]} (mean)",
                (0.01, statistics.fmean(metrics)),
                xycoords=("axes fraction", "data"),
                fontsize=8,
                color=VAL,
                va="bottom",
            )
        points = [(value, metric) for value, metric in points if number_in(value) is not None]
        x = [float(value) for value, _ in points]
        if logarithmic and min(x) > 0:
            axes.set_xscale("log")
            axes.minorticks_off()
    else:
        names = list(dict.fromkeys(value for value, _ in points))
        x = [float(names.index(value)) for value, _ in points]
        shown = names if len(names) <= MAX_TICKS else names[:: -(-len(names) // MAX_TICKS)]
        texts = [name if len(name) <= 16 else f"{name[:15]}…" for name in shown]
        turned = 30 if max(map(len, texts)) * len(texts) > 50 else 0
        ticks = [names.index(name) for name in shown]
        axes.set_xticks(ticks, texts, rotation=turned, ha="right" if turned else "center", fontsize=8)
    y = [value for _, value in points]
    axes.plot(x, y, color=TRAIN, marker="o", markersize=4, alpha=0.6, linestyle="")
    places = sorted(set(x))
    means = [statistics.fmean(v for at, v in zip(x, y, strict=True) if at == place) for place in places]
    if not are_numbers:
        axes.plot(places, means, color=VAL, marker="_", markersize=30, linestyle="")
        axes.set_xlim(-0.5, max(x) + 0.5)
    elif len(places) < REPEATED * len(x):  # of values drawn from a range, hardly any occurs twice
        axes.plot(places, means, color=VAL, linewidth=1)
    return svg(figure)
