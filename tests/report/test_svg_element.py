"""Curves on pages: in the page's colours, with a legend in HTML that names each line beside its colour."""

from __future__ import annotations

import re

import pytest

from cnntrain.report.pictures import run_curves
from cnntrain.report.pictures.parallel_coordinates import parallel_coordinates
from cnntrain.report.pictures.sweep_curves import best_so_far

STEPS = [
    {"step": step, "epoch": step / 10, "lr": 0.1, "momentum": 0.9, "train/data_loss": 1 / step}
    | {f"update_ratio/<{layer}>.weight": 1e-3 * layer for layer in (1, 2, 3)}
    for step in range(1, 21)
]
EPOCHS = [{"step": 10, "epoch": 1, "train/accuracy": 0.5, "val/accuracy": 0.4, "val/loss": 0.3}] * 2
PICTURES = {
    "loss": run_curves.loss_curve(STEPS, EPOCHS),
    "metric": run_curves.metric_curve(EPOCHS, "accuracy"),
    "rate": run_curves.rate_curve(STEPS),
    "layers": run_curves.layer_curves(STEPS, "update_ratio", "update : weight", True),
    "confusion": run_curves.confusion_picture([[9, 1], [0, 10]], ["a", "b"]),
    "jobs": best_so_far([0.1, 0.2], False, "accuracy"),
    "parallel": parallel_coordinates({"optim.lr": True}, [(["0.1"], 0.5), (["0.2"], 0.6)], "accuracy", False),
}


@pytest.mark.parametrize("name", PICTURES)
def test_texts_and_axes_have_the_colour_of_the_page_and_nothing_lies_behind_them(name: str) -> None:
    picture = PICTURES[name]
    assert picture is not None
    assert "#000000" not in picture
    assert "stroke: currentColor" in picture
    assert not re.findall(r'<path d="[^"]*" style="fill: #ffffff', picture)
    # A text has the colour of the page, which the style sheet gives, or one of its own on a cell.
    assert set(re.findall(r"<text style=\"[^\"]*fill: ([^;\"]+)", picture)) <= {"#ffffff", "#010101"}


def test_the_legend_names_each_line_beside_its_colour() -> None:
    picture = PICTURES["layers"]
    assert picture is not None
    drawn, _, legend = picture.partition("</svg>")
    keys = re.findall(r'<li><span class="key (.+?)" style="color: (#.+?)"></span>(.+?)</li>', legend)
    assert [name for _, _, name in keys] == [
        *(f"&lt;{layer}&gt;.weight" for layer in (1, 2, 3)),
        "usual: 0.001",
    ]
    assert [kind for kind, _, _ in keys] == ["line"] * 3 + ["line dotted"]
    assert len({colour for _, colour, _ in keys}) == 4
    for _, colour, _ in keys:
        assert f"stroke: {colour}" in drawn
    jobs = PICTURES["jobs"]
    assert jobs is not None
    assert re.findall(r'class="key (\w+)".+?</span>(.+?)</li>', jobs) == [
        ("point", "job"),
        ("line", "best so far"),
    ]
