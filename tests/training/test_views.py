"""Test-time views (E7)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import cnntrain
from cnntrain.cli import main
from cnntrain.training.views import mirrored, shifted, ten_crops


def images() -> torch.Tensor:
    torch.manual_seed(0)
    return torch.randint(0, 256, (3, 12, 10, 3), dtype=torch.uint8)


def test_ten_crops_are_corners_and_middle_and_their_mirror_images() -> None:
    given = images()
    corners = [
        given[:, :8, :6],
        given[:, :8, -6:],
        given[:, -8:, :6],
        given[:, -8:, -6:],
        given[:, 2:10, 2:8],
    ]
    ours = ten_crops(given, (8, 6), None)
    assert len(ours) == 10
    for wanted in [*corners, *(corner.flip(2) for corner in corners)]:
        assert sum(torch.equal(view, wanted) for view in ours) == 1
    enlarged = ten_crops(given, (8, 6), (12, 10))
    assert {tuple(view.shape) for view in enlarged} == {(3, 12, 10, 3)}
    assert (enlarged[0][:, 0, 0] == given[:, 0, 0]).all()


def test_shifts_move_the_image_and_fill_with_black() -> None:
    given = images()
    views = shifted(given, 2)
    assert len(views) == 9
    assert torch.equal(views[4], given)
    assert torch.equal(views[0][:, 2:, 2:], given[:, :-2, :-2])
    assert not views[0][:, :2].any()
    assert torch.equal(views[8][:, :-2, :-2], given[:, 2:, 2:])


def test_mirroring_twice_is_nothing() -> None:
    given = images()
    assert torch.equal(mirrored(mirrored(given)[1])[1], given)


@pytest.mark.parametrize("target", ["classes", "attributes", "values"])
def test_views_are_averaged_predictions_reported_beside_the_plain_ones(
    target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    loss = {"classes": "softmax", "attributes": "attribute_logistic", "values": "l2"}[target]
    words = [f"data.target={target}", f"loss={loss}", "trainer.epochs=2", "trainer.precision=fp32"]
    assert main(["hydra.run.dir=run", *words]) == 0
    assert main(["run=run", "job=evaluate", "evaluate.views=shifts", "evaluate.shift=1"]) == 0
    result = json.loads(Path("run/evaluate-digits-test.json").read_text())
    # The same by hand, in Python.
    trained = cnntrain.load("run")
    test = trained.config.data.load(0).test
    whole = next(test.chunks(1000))
    predicted = torch.stack([trained.predict(view) for view in shifted(whole, 1)]).mean(0)
    by_hand = {
        "classes": lambda: (predicted.argmax(1) == test.labels).double().mean(),
        "attributes": lambda: ((predicted > 0.5) == (test.labels > 0.5)).double().mean(),
        "values": lambda: (predicted - test.labels).abs().double().mean(),
    }[target]()
    name = "mean_absolute_error" if target == "values" else "accuracy"
    assert result["views"][name] == pytest.approx(by_hand.item(), rel=1e-4)
    summary = json.loads(Path("run/summary.json").read_text())
    assert result[name] == summary[f"test/{name}"]
