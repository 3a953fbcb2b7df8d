"""A figure as an SVG element of a page: in the page's colours, light or dark, its legend as text below it."""

from __future__ import annotations

import io
from html import escape
from typing import TYPE_CHECKING, Any

from .png import missing_glyphs_accepted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Colours of a figure that become those of the page: of texts and axes, and of what lies behind them.
FOREGROUND, BACKGROUND = "#000000", "#fffffe"
# Black in either, such as on a light cell.
ALWAYS_BLACK = "#010101"
# Sizes in points at which texts can be read where the picture is as narrow as a telephone's screen.
LABEL_SIZE, TICK_SIZE = 9.0, 8.5
# The middle of viridis, which stands out from light and from dark pages.
DARKEST, LIGHTEST = 0.3, 0.8
KEYS = {"-": "line", "--": "line dashed", ":": "line dotted"}


def empty_axes(x: str, y: str, right: float = 0.97) -> tuple[Figure, Axes]:
    """Return an empty picture; right: where the axes end, as a fraction of the width."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 2.9))
    # Fixed margins: to fit them to the texts takes as long as all the drawing.
    figure.subplots_adjust(left=0.15, right=right, bottom=0.16, top=0.96)
    axes = figure.subplots()
    axes.set_xlabel(x, fontsize=LABEL_SIZE)
    axes.set_ylabel(y, fontsize=LABEL_SIZE)
    axes.tick_params(labelsize=TICK_SIZE)
    axes.grid(alpha=0.3)
    return figure, axes


def colours(count: int) -> list[Any]:
    """Return colours for so many lines in order, the first the darkest."""
    from matplotlib import colormaps

    step = (LIGHTEST - DARKEST) / max(1, count - 1)
    return [colormaps["viridis"](DARKEST + step * number) for number in range(count)]


def svg(figure: Figure) -> str:
    """Return a figure as an SVG element without the XML header, followed by a list of its labelled lines."""
    from matplotlib import rc_context

    content = io.StringIO()
    # Text as text: smaller, faster to draw, and read by screen readers.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "cnntrain"}), missing_glyphs_accepted():
        figure.savefig(content, format="svg", metadata={"Date": None}, transparent=True)
    text = content.getvalue()
    drawn = text[text.index("<svg") :].replace(FOREGROUND, "currentColor").replace(BACKGROUND, "var(--card)")
    return drawn + _legend(figure)


def _legend(figure: Figure) -> str:
    """Return the labelled lines of a figure as a list in HTML, each with its colour and style."""
    from matplotlib.colors import to_hex

    items = []
    for axes in figure.axes:
        lines: tuple[list[Any], list[Any]] = axes.get_legend_handles_labels()
        for line, label in zip(*lines, strict=True):
            kind, colour = KEYS.get(line.get_linestyle(), "point"), to_hex(line.get_color())
            key = f'<span class="key {kind}" style="color: {colour}"></span>'
            items.append(f"<li>{key}{escape(label)}</li>")
    return f'<ul class="legend">{"".join(items)}</ul>' if items else ""
