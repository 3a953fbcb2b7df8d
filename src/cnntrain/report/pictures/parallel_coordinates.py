"""All jobs of a sweep as lines over parallel axes, one for each setting and one for the metric."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from ...findings.sweep_record import mostly_numbers, number_in
from .svg_element import BACKGROUND, colours, empty_axes, svg

# Longest name of an axis or of a value that is written.
MAX_NAME = 14
# More values of text than this would be written over each other.
MAX_TICKS = 8
# On an axis from 0 to 1, where values stand that are no numbers, such as null.
BELOW = -0.12


def parallel_coordinates(
    settings: dict[str, bool],
    jobs: Sequence[tuple[Sequence[str], float]],
    label: str,
    lower_is_better: bool,
) -> str:
    """Return a line for each job from its value of one setting to that of the next, the best drawn last.

    settings: their names, and whether each has a logarithmic axis; jobs: the values of each as texts, and
    its metric. Values of text stand at even distances.
    """
    figure, axes = empty_axes("", "")
    axes.grid(False)
    scales = [
        _scale([values[number] for values, _ in jobs], logarithmic)
        for number, logarithmic in enumerate(settings.values())
    ]
    scales.append(_scale([repr(metric) for _, metric in jobs], logarithmic=False))
    ranked = sorted(jobs, key=lambda job: job[1], reverse=lower_is_better)
    places = range(len(scales))
    shades = colours(len(ranked))[::-1]
    for number, (values, metric) in enumerate(ranked):
        texts = [*values, repr(metric)]
        heights = [place(text) for (place, _), text in zip(scales, texts, strict=True)]
        part = number / max(1, len(ranked) - 1)
        axes.plot(places, heights, color=shades[number], alpha=0.25 + 0.65 * part)
    for place, (_, ticks) in zip(places, scales, strict=True):
        axes.axvline(place, color="0.5", linewidth=0.8)
        for height, text in ticks:
            axes.annotate(
                text,
                (place, height),
                (3, 0),
                textcoords="offset points",
                fontsize=7,
                va="center",
                bbox={
                    "boxstyle": "square,pad=0.1",
                    "facecolor": BACKGROUND,
                    "edgecolor": "none",
                    "alpha": 0.7,
                },
            )
    axes.set_xticks(
        list(places), [_short(name.rpartition(".")[2]) for name in [*settings, label]], fontsize=8
    )
    axes.set_yticks([])
    axes.set_xlim(-0.05, len(settings) + 0.35)
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_visible(False)
    return svg(figure)


def _scale(texts: list[str], logarithmic: bool) -> tuple[Callable[[str], float], list[tuple[float, str]]]:
    """Return where each value of a setting stands on its axis, from 0 to 1, and the values written there."""
    if not mostly_numbers(texts):
        names = sorted(set(texts))
        step = 1 / max(1, len(names) - 1)
        written = [(number * step, _short(name)) for number, name in enumerate(names)]
        return lambda text: names.index(text) * step, written[:: -(-len(names) // MAX_TICKS)]
    numbers = [number for text in texts if (number := number_in(text)) is not None]
    low, high = min(numbers), max(numbers)
    logarithmic = logarithmic and low > 0  # job 0 may lie outside its range
    start, end = (math.log(low), math.log(high)) if logarithmic else (low, high)

    def place(text: str) -> float:
        number = number_in(text)
        if number is None:
            return BELOW
        value = math.log(number) if logarithmic else number
        return (value - start) / (end - start) if end > start else 0.5

    ticks = [low, high] if high > low else [low]
    if logarithmic:
        ticks += [
            10.0**power for power in range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)
        ]
    shown = {round(place(repr(tick)), 1): tick for tick in reversed(ticks)}  # the ends rather than one near
    others = sorted({text for text in texts if number_in(text) is None})
    return place, [
        *((place(repr(tick)), f"{tick:.3g}") for tick in shown.values()),
        *([(BELOW, _short(", ".join(others)))] if others else []),
    ]


def _short(name: str) -> str:
    return name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 1]}…"
