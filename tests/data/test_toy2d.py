"""Points in the plane (D9): their positions, and the models that separate them."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from cnntrain.cli import main
from cnntrain.data.image_set import MemoryImages
from cnntrain.data.settings.generated import Toy2d
from cnntrain.data.toy2d import to_images, to_points

# Half a cell of the grid in each coordinate, on the diagonal.
ROUNDING = math.sqrt(2) / 255


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def load_points(settings: Toy2d) -> tuple[Tensor, Tensor]:
    train = settings.load(0).train
    assert isinstance(train, MemoryImages)
    assert train.images.dtype == torch.uint8
    assert train.images.shape[1:] == (1, 1, 2)
    return to_points(train.images), train.labels


def test_rings_lie_on_two_circles_at_all_angles() -> None:
    points, labels = load_points(Toy2d(shape="rings", noise=0, val_fraction=0))
    radii = torch.tensor([0.4, 0.8])[labels]
    assert (points.norm(dim=1) - radii).abs().max() <= ROUNDING
    for label in (0, 1):
        angles = torch.atan2(*points[labels == label].T)
        assert torch.histc(angles, 12, -math.pi, math.pi).min() > 500 / 12 / 2


def test_moons_are_two_interleaved_half_circles() -> None:
    points, labels = load_points(Toy2d(shape="moons", noise=0, val_fraction=0))
    for label, sign in ((0, 1), (1, -1)):
        centered = sign * points[labels == label] + 0.55 * torch.tensor([0.5, 0.25])
        assert (centered.norm(dim=1) - 0.55).abs().max() <= ROUNDING
        assert centered[:, 1].min() >= -ROUNDING
        # The ends of each cross the horizontal line through the origin.
        assert (sign * points[labels == label])[:, 1].min() < -0.55 * 0.2


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_the_radius_of_a_spiral_arm_grows_linearly_with_its_angle(classes: int) -> None:
    points, labels = load_points(Toy2d(shape="spiral", noise=0, classes=classes, val_fraction=0))
    radius = points.norm(dim=1)
    angle = 2 * math.pi * (labels / classes + (radius - 0.05) / 0.85)
    on_arm = torch.stack([radius * angle.cos(), radius * angle.sin()], 1)
    # The angle on an arm is computed from the rounded radius, too.
    error = (on_arm - points).norm(dim=1)
    assert (error <= ROUNDING * (1 + 2 * math.pi / 0.85 * radius)).all()
    assert radius.min() < 0.1
    assert radius.max() > 0.85


@pytest.mark.parametrize(("shape", "classes"), [("moons", 2), ("rings", 2), ("spiral", 3)])
def test_classes_have_equal_sizes_and_points_do_not_depend_on_the_seed(shape: str, classes: int) -> None:
    settings = Toy2d(shape=shape, classes=classes, points=300, test_points=90, val_fraction=0)
    first, second = settings.load(0), settings.load(1)
    for one, other, size in ((first.train, second.train, 300), (first.test, second.test, 90)):
        assert isinstance(one, MemoryImages)
        assert isinstance(other, MemoryImages)
        assert torch.equal(one.images, other.images)
        assert torch.bincount(one.labels).tolist() == [size // classes] * classes
    assert first.names == [str(label) for label in range(classes)]
    info = settings.info()
    assert (info.height, info.width, info.channels) == first.train.shape
    assert (info.outputs, info.train_images) == (classes, 300)


def test_noise_has_the_given_standard_deviation_and_is_clipped_to_the_square() -> None:
    clean, _ = load_points(Toy2d(shape="rings", noise=0, points=4000, val_fraction=0))
    noisy, _ = load_points(Toy2d(shape="rings", noise=0.05, points=4000, val_fraction=0))
    assert (noisy - clean).std() == pytest.approx(0.05, rel=0.05)
    clipped, _ = load_points(Toy2d(shape="rings", noise=2, val_fraction=0))
    assert clipped.abs().max() == 1


def test_converting_points_to_images_and_back_gives_the_points() -> None:
    points = torch.tensor([[-1.0, 1.0], [0.25, -0.5]])
    torch.testing.assert_close(to_points(to_images(points)), points)
    assert to_images(points)[0, 0, 0].tolist() == [0, 255]


def test_on_rings_a_linear_classifier_reaches_two_thirds_and_a_perceptron_all() -> None:
    """A tangent of the inner circle, at 0.4, cuts off acos(0.4/0.8) on both sides: a third of the outer."""
    accuracy = {}
    for name in ("linear", "mlp"):
        overrides = ["data=toy2d", "data.shape=rings", f"model={name}", "trainer.epochs=6"]
        assert main([f"hydra.run.dir={name}", *overrides]) == 0
        accuracy[name] = json.loads(Path(name, "summary.json").read_text())["test/accuracy"]
    assert accuracy["linear"] <= 2 / 3 + 0.04  # tolerance for the noise and 1000 random points
    assert accuracy["mlp"] >= 0.99


def test_a_run_has_a_picture_of_the_decision_boundary_of_its_best_network(
    capsys: pytest.CaptureFixture[str],
) -> None:
    overrides = ["data=toy2d", "data.shape=moons", "model=mlp", "trainer.epochs=4"]
    assert main(["hydra.run.dir=run", *overrides]) == 0
    assert "decision_boundary.png" in capsys.readouterr().out
    with Image.open("run/decision_boundary.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    # Above the moons is the first class's blue, below them the second's orange.
    blue = pixels[..., 2] - pixels[..., 0]
    height, width = blue.shape
    assert blue[height // 10, width // 2] > 30
    assert blue[height * 8 // 10, width // 2] < -30


def test_more_classes_than_a_shape_has_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data=toy2d", "data.shape=rings", "data.classes=3"]) == 2
    stderr = capsys.readouterr().err
    assert "data.classes=3" in stderr
    assert "write data.classes=2 or data.shape=spiral" in stderr
