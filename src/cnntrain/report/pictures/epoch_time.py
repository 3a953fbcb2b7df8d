"""Where the time of an epoch goes: bars of its parts, of kinds of layers and of the slowest layers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .png import write_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FORWARD, BACKWARD, PARTS = "#4c78a8", "#f58518", "#72b7b2"
# A name, and the seconds forward and backward.
Bar = tuple[str, tuple[float, float]]


def draw_epoch_time(
    path: Path, parts: dict[str, float], kinds: Sequence[Bar], layers: Sequence[Bar], most: int
) -> None:
    """Write bars of seconds, the longest on top, with their shares of the epoch, as PNG. Raises DataError.

    parts: of the epoch. kinds, layers: forward and backward, the slowest first, none where they were not
    timed one by one; the first `most` are drawn.
    """
    from matplotlib.figure import Figure

    total = sum(parts.values())
    panels: list[tuple[str, Sequence[Bar]]] = [
        (f"kinds of layers{_of_all(kinds, most)}", kinds[:most]),
        (f"layers{_of_all(layers, most)}", layers[:most]),
    ]
    panels = [(title, bars) for title, bars in panels if bars]
    rows = max(len(parts), *(len(bars) for _, bars in panels), 0)
    figure = Figure(figsize=(5 + 4.5 * len(panels), 1.2 + 0.28 * rows), dpi=120, layout="constrained")
    first, *others = figure.subplots(1, 1 + len(panels), squeeze=False)[0]
    by_time = sorted(parts.items(), key=lambda part: -part[1])
    _draw(first, [(name, (seconds,)) for name, seconds in by_time], (PARTS,), total, rows)
    first.set_title(f"parts of an epoch of {total:.3g} s")
    for axes, (title, bars) in zip(others, panels, strict=True):
        _draw(axes, bars, (FORWARD, BACKWARD), total, rows)
        axes.set_title(title)
        axes.legend(["forward", "backward"], loc="lower right")
    write_figure(path, figure)


def _of_all(bars: Sequence[Bar], most: int) -> str:
    return f", the slowest {most} of {len(bars)}" if len(bars) > most else ""


def _draw(
    axes: Axes,
    bars: Sequence[tuple[str, tuple[float, ...]]],
    colors: tuple[str, ...],
    total: float,
    rows: int,
) -> None:
    """Draw horizontal bars of one or more pieces, with their shares of the total, in so many rows."""
    places, starts = range(len(bars)), [0.0] * len(bars)
    for number, color in enumerate(colors):
        pieces = [pieces[number] for _, pieces in bars]
        axes.barh(places, pieces, left=starts, color=color, height=0.7)
        starts = [start + piece for start, piece in zip(starts, pieces, strict=True)]
    for row, end in enumerate(starts):
        axes.text(end, row, f" {end / total:.1%}", va="center", fontsize=9)
    axes.set_yticks(places, [name for name, _ in bars])
    axes.set_ylim(rows - 0.5, -0.5)
    axes.set_xlim(0, 1.2 * max(starts, default=1.0))
    axes.set_xlabel("seconds")
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
