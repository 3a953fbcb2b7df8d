"""Maps of networks whose maps are known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from cnntrain.errors import DataError
from cnntrain.loss.attribute_losses import AttributeLogistic
from cnntrain.loss.class_losses import RejectingSoftmax, Softmax
from cnntrain.loss.criterion import Criterion
from cnntrain.loss.regression_losses import Bins, Distance
from cnntrain.prediction.trained import TrainedNetwork
from cnntrain.preprocessing.pca_whitening import Project
from cnntrain.preprocessing.preprocess import Preprocess
from cnntrain.preprocessing.scale_and_shift import Affine
from cnntrain.settings.config_tree import Config

NAMES = ["cat", "dog"]


@pytest.fixture
def linear(choose: Any) -> Any:
    """Return the function that makes a linear network, of random weights, for colour images of a side."""

    def make(criterion: Criterion, side: int = 8, preprocess: Preprocess | None = None) -> TrainedNetwork:
        torch.manual_seed(0)
        network = nn.Sequential(nn.Flatten(), nn.Linear(3 * side * side, criterion.outputs))
        if preprocess is None:
            scale = torch.tensor([0.01, 0.02, 0.04]).view(1, 1, 1, 3)
            preprocess = Affine(scale, torch.zeros(1, 1, 1, 3), None)
        config = Config()
        is_value = isinstance(criterion, Bins | Distance)
        target = (
            "values" if is_value else "attributes" if isinstance(criterion, AttributeLogistic) else "classes"
        )
        config.data, config.model = choose("data", "folder"), choose("model", "linear")
        config.data.target = target
        return TrainedNetwork(network, preprocess, criterion, criterion.names, (side, side, 3), config, 7)

    return make


def distance() -> Distance:
    return Distance(["angle"], "l2", "sum", torch.tensor([5.0]), torch.tensor([3.0]))


def image(side: int = 8, seed: int = 1) -> Tensor:
    return torch.randint(0, 256, (side, side, 3), dtype=torch.uint8, generator=torch.manual_seed(seed))


def weights_of(trained: TrainedNetwork, output: int, side: int = 8) -> Tensor:
    """Return the weights of an output for each pixel as stored, (H, W, C)."""
    weight = trained.network[1].weight.detach()[output].view(3, side, side)  # type: ignore[index]
    return weight.permute(1, 2, 0) * torch.tensor([0.01, 0.02, 0.04])


@pytest.mark.parametrize("class_name", NAMES)
def test_the_gradient_of_a_linear_network_is_its_weights(class_name: str, linear: Any) -> None:
    trained = linear(Softmax(NAMES, None, 0))
    pixels = image()
    explained = trained.explain(pixels, class_name, "gradient")
    expected = weights_of(trained, NAMES.index(class_name)).abs().amax(2)
    torch.testing.assert_close(explained.values, expected)
    assert explained.values.dtype == torch.float32
    assert explained.name == class_name
    assert explained.prediction == pytest.approx(float(trained.predict(pixels)[0, NAMES.index(class_name)]))
    assert all(weight.grad is None for weight in trained.network.parameters())
    with torch.inference_mode():
        assert torch.equal(trained.explain(pixels, class_name, "gradient").values, explained.values)


def test_the_gradient_passes_preprocessing_that_projects(linear: Any) -> None:
    directions = torch.linalg.qr(torch.randn(192, 192, generator=torch.manual_seed(3)))[0][:100]
    options = {"rotate_back": True, "normalize_contrast": False, "epsilon": None}
    projection = Project(torch.zeros(192), directions, torch.ones(100), (8, 8, 3), None, **options)
    trained = linear(Softmax(NAMES, None, 0), preprocess=projection)
    weight = trained.network[1].weight.detach()[0].view(3, 8, 8).permute(1, 2, 0).flatten()
    expected = (directions.T @ (directions @ weight) / 255).view(8, 8, 3).abs().amax(2)
    torch.testing.assert_close(trained.explain(image(), "cat", "gradient").values, expected)


def test_covering_a_pixel_of_a_linear_network_takes_away_its_part_of_the_value(linear: Any) -> None:
    trained, pixels = linear(distance()), image()  # patches of a sixth of 8 pixels have a single one
    fill = pixels.float().mean((0, 1)).round()
    expected = 3.0 * (weights_of(trained, 0) * (pixels.float() - fill)).sum(2)
    explained = trained.explain(pixels)
    torch.testing.assert_close(explained.values, expected, rtol=1e-3, atol=1e-4)
    assert (explained.name, explained.method) == ("angle", "occlusion")
    assert "Explanation(angle " in repr(explained)
    assert "\n" not in repr(explained) + repr(trained)


def test_covering_a_pixel_changes_the_odds_where_the_probability_is_1_as_well(linear: Any) -> None:
    trained, pixels = linear(Softmax(NAMES, None, 0)), image()
    with torch.no_grad():
        trained.network[1].bias.copy_(torch.tensor([30.0, 0.0]))
    assert trained.predict(pixels)[0, 0] == 1
    fill = pixels.float().mean((0, 1)).round()
    weights = weights_of(trained, 0) - weights_of(trained, 1)
    expected = (weights * (pixels.float() - fill)).sum(2)
    torch.testing.assert_close(trained.explain(pixels).values, expected, rtol=1e-3, atol=1e-4)


def test_patches_are_averaged_over_those_that_cover_a_pixel(linear: Any) -> None:
    side, patch = 24, 4
    trained, pixels = linear(distance(), side), image(side)
    fill = pixels.float().mean((0, 1)).round()
    parts = 3.0 * (weights_of(trained, 0, side) * (pixels.float() - fill)).sum(2)[None, None]
    drops = nn.functional.conv2d(parts, torch.ones(1, 1, patch, patch), stride=patch // 2)
    spread = [
        nn.functional.conv_transpose2d(one, torch.ones(1, 1, patch, patch), stride=patch // 2)
        for one in (drops, torch.ones_like(drops))
    ]
    expected = (spread[0] / spread[1])[0, 0]
    torch.testing.assert_close(trained.explain(pixels).values, expected, rtol=1e-3, atol=1e-3)


def test_the_map_of_a_network_that_looks_at_a_corner_peaks_there(linear: Any, tmp_path: Path) -> None:
    trained = linear(Softmax(NAMES, None, 0), 30)
    layer = trained.network[1]
    with torch.no_grad():
        layer.weight.zero_()
        layer.bias.zero_()
        layer.weight.view(2, 3, 30, 30)[1, :, :6, 24:] = 0.002
    pixels = torch.full((30, 30, 3), 100, dtype=torch.uint8)
    pixels[:6, 24:] = 250
    explained = trained.explain(pixels)
    assert explained.name == "dog"
    row, column = divmod(int(explained.values.argmax()), 30)
    assert row < 6 <= 24 <= column
    assert explained.values[11:].abs().max() < 1e-5
    assert explained.values[:, :19].abs().max() < 1e-5
    against = trained.explain(pixels, "cat")
    torch.testing.assert_close(against.values, -explained.values)

    drawn = np.asarray(explained.image(side=300)).astype(int)
    assert drawn.shape == (300, 300, 3)
    red = drawn[..., 0] - drawn[..., 2]
    assert red[:40, 260:].min() > 50
    assert abs(red[150:]).max() == 0
    blue = np.asarray(against.image(side=300)).astype(int)
    assert (blue[..., 2] - blue[..., 0])[:40, 260:].min() > 50
    explained.save(tmp_path / "map.png")
    with Image.open(tmp_path / "map.png") as saved:
        assert np.array_equal(np.asarray(saved), np.asarray(explained.image()))
    explained.save(tmp_path / "map.jpg")
    with Image.open(tmp_path / "map.jpg") as saved:
        assert saved.format == "JPEG"
    with pytest.raises(DataError, match="could not be written"):
        explained.save(tmp_path / "none" / "map.png")


def test_attributes_are_explained_by_name_and_the_most_probable_one_first(linear: Any) -> None:
    trained = linear(AttributeLogistic(NAMES, None))
    pixels = image()
    assert trained.explain(pixels).name == NAMES[int(trained.predict(pixels)[0].argmax())]
    torch.testing.assert_close(
        trained.explain(pixels, "dog", "gradient").values, weights_of(trained, 1).abs().amax(2)
    )


def test_none_of_them_is_explained_by_occlusion_alone(linear: Any) -> None:
    trained = linear(RejectingSoftmax(NAMES, 100.0))
    with torch.no_grad():
        trained.network[1].bias.fill_(-200.0)
    pixels = image()
    assert trained.explain(pixels).name == "none of them"
    assert trained.explain(pixels).prediction == pytest.approx(1)
    with pytest.raises(ValueError, match="has no score and no gradient; use method='occlusion'"):
        trained.explain(pixels, method="gradient")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"class_name": "dogg"}, "the network has no 'dogg'; did you mean dog"),
        ({"class_name": "bird"}, "the network has no 'bird'; choose one of cat, dog"),
        ({"method": "gradcam"}, "method must be one of occlusion, gradient, got 'gradcam'"),
    ],
)
def test_unknown_names_and_methods_are_refused(arguments: Any, expected: str, linear: Any) -> None:
    with pytest.raises(ValueError, match=expected):
        linear(Softmax(NAMES, None, 0)).explain(image(), **arguments)


def test_explanations_are_of_one_image_and_need_a_gradient_where_they_follow_one(linear: Any) -> None:
    with pytest.raises(ValueError, match="one image at a time, got 2"):
        linear(Softmax(NAMES, None, 0)).explain([image(), image()])
    most_probable_bin = Bins(["angle"], torch.tensor([[0.0, 1.0, 2.0]]), "mode")
    with pytest.raises(ValueError, match="this prediction has no gradient; use method='occlusion'"):
        linear(most_probable_bin).explain(image(), method="gradient")
