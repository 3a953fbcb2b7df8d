"""Test-time views (E7)."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

import cnntrain
from cnntrain.cli import main
from cnntrain.training.test_time_augmentation import (
    MIRROR_SHIFTS_COUNTS,
    mirrored,
    mirrored_shifts,
    shifted,
    ten_crops,
)


def random_images() -> torch.Tensor:
    torch.manual_seed(0)
    return torch.randint(0, 256, (3, 12, 10, 3), dtype=torch.uint8)


def test_ten_crops_are_corners_and_center_and_their_mirror_images() -> None:
    originals = random_images()
    corners = [
        originals[:, :8, :6],
        originals[:, :8, -6:],
        originals[:, -8:, :6],
        originals[:, -8:, -6:],
        originals[:, 2:10, 2:8],
    ]
    ours = ten_crops(originals, (8, 6), None)
    assert len(ours) == 10
    for expected in [*corners, *(corner.flip(2) for corner in corners)]:
        assert sum(torch.equal(view, expected) for view in ours) == 1
    enlarged = ten_crops(originals, (8, 6), (12, 10))
    assert {tuple(view.shape) for view in enlarged} == {(3, 12, 10, 3)}
    assert (enlarged[0][:, 0, 0] == originals[:, 0, 0]).all()


def test_shifts_move_the_image_and_fill_with_black() -> None:
    originals = random_images()
    views = shifted(originals, 2)
    assert len(views) == 9
    assert torch.equal(views[4], originals)
    assert torch.equal(views[0][:, 2:, 2:], originals[:, :-2, :-2])
    assert not views[0][:, :2].any()
    assert torch.equal(views[8][:, :-2, :-2], originals[:, 2:, 2:])


def test_mirrored_shifts_are_those_of_torchs_reflection_and_the_image_counts_as_much() -> None:
    originals = random_images()
    padded = F.pad(originals.permute(0, 3, 1, 2).float(), (1, 1, 1, 1), "reflect").permute(0, 2, 3, 1)
    shifts = [padded[:, :12, :10], padded[:, 2:, 2:]]
    expected = [view for one in (originals.float(), *shifts) for view in (one, one.flip(2))]
    views = mirrored_shifts(originals, 1)
    assert [view.dtype for view in views] == [torch.uint8] * 6
    assert all(torch.equal(view.float(), other) for view, other in zip(views, expected, strict=True))
    assert sum(MIRROR_SHIFTS_COUNTS[:2]) == sum(MIRROR_SHIFTS_COUNTS[2:])


def test_mirroring_twice_is_the_identity() -> None:
    originals = random_images()
    assert torch.equal(mirrored(mirrored(originals)[1])[1], originals)


@pytest.mark.parametrize("target", ["classes", "attributes", "values"])
def test_metrics_of_averaged_views_are_reported_beside_the_plain_ones(
    target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    loss = {"classes": "softmax", "attributes": "attribute_logistic", "values": "l2"}[target]
    overrides = [f"data.target={target}", f"loss={loss}", "trainer.epochs=2", "trainer.precision=fp32"]
    assert main(["hydra.run.dir=run", *overrides]) == 0
    views = "shifts" if target == "classes" else "mirror_shifts"
    assert main(["run=run", "job=evaluate", f"evaluate.views={views}", "evaluate.shift=1"]) == 0
    result = json.loads(Path("run/evaluate-digits-test.json").read_text())
    # The expected result, from predictions of shifted images.
    trained = cnntrain.load("run")
    test = trained.config.data.load(0).test
    originals = next(test.chunks(1000))
    made = shifted(originals, 1) if views == "shifts" else mirrored_shifts(originals, 1)
    counts = torch.ones(9) if views == "shifts" else torch.tensor([2.0, 2, 1, 1, 1, 1])
    predictions = torch.stack([trained.predict(view) for view in made])
    predicted = (counts[:, None, None] * predictions).sum(0) / counts.sum()
    expected = {
        "classes": lambda: (predicted.argmax(1) == test.labels).double().mean(),
        "attributes": lambda: ((predicted > 0.5) == (test.labels > 0.5)).double().mean(),
        "values": lambda: (predicted - test.labels).abs().double().mean(),
    }[target]()
    name = "mean_absolute_error" if target == "values" else "accuracy"
    assert result["views"][name] == pytest.approx(expected.item(), rel=1e-4)
    summary = json.loads(Path("run/summary.json").read_text())
    assert result[name] == summary[f"test/{name}"]


@pytest.mark.parametrize("fraction", [0.25, 0.8])
def test_views_of_the_least_certain_images_alone(
    fraction: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["hydra.run.dir=run", "trainer.epochs=2", "trainer.precision=fp32"]) == 0
    views = ["evaluate.views=mirror", f"evaluate.views_fraction={fraction}"]
    assert main(["run=run", "job=evaluate", *views]) == 0
    result = json.loads(Path("run/evaluate-digits-test.json").read_text())
    trained = cnntrain.load("run")
    test = trained.config.data.load(0).test
    originals = next(test.chunks(1000))
    plain = trained.predict(originals)
    over_views = (plain + trained.predict(originals.flip(2))) / 2
    ordered = plain.sort(1, descending=True).values
    margins = (ordered[:, 0] - ordered[:, 1]).tolist()
    least = sorted(range(len(margins)), key=margins.__getitem__)[: math.ceil(fraction * len(margins))]
    plain[least] = over_views[least]
    expected = (plain.argmax(1) == test.labels).double().mean().item()
    assert result["views"]["accuracy"] == pytest.approx(expected)
    assert result["accuracy"] != pytest.approx(expected)
