"""Feature maps and patches of networks whose answer is known."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from cnntrain.instruments.feature_maps import Patch, feature_maps, strongest_patches


def detector() -> nn.Sequential:
    """Return two 3x3 convolutions, so a receptive field of 5x5, that add up what lies in it."""
    net = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.Conv2d(2, 3, 3, padding=1), nn.ReLU())
    with torch.no_grad():
        for weight in net.parameters():
            weight.fill_(1.0 if weight.ndim > 1 else 0.0)
        net[0].weight[:, :, 1, 1] = 2.0  # so that only one position is excited most
        net[2].weight[1] *= -1  # never above 0
    return net.eval()


def spots(*places: tuple[int, int, float]) -> torch.Tensor:
    images = torch.full((len(places), 1, 12, 16), 1e-3)
    for image, (row, column, value) in zip(images, places, strict=True):
        image[0, row, column] = value
    return images


def test_feature_maps_are_the_outputs_of_the_layers() -> None:
    net, images = detector(), spots((3, 4, 1.0), (5, 6, 2.0))
    maps = feature_maps(net, images, most=4)
    assert list(maps) == ["1", "3"]
    torch.testing.assert_close(maps["1"], F.relu(net[0](images)))
    torch.testing.assert_close(maps["3"], net(images))
    assert list(feature_maps(net, images, most=2)) == ["1", "3"]
    assert feature_maps(nn.Sequential(nn.Flatten(), nn.Linear(192, 3), nn.ReLU()), images, 4) == {}


def test_patches_are_receptive_fields_around_what_excites_the_unit_in_the_order_of_strength() -> None:
    images = spots((6, 8, 1.0), (3, 4, 3.0), (9, 10, 2.0))
    patches = strongest_patches(detector(), images, "3", [0, 1], count=2)
    assert patches[1] == []
    first, second = patches[0]
    assert first == Patch(1, 1, 2, 6, 7)  # rows and columns 3 ± 2 and 4 ± 2
    assert second == Patch(2, 7, 8, 12, 13)
    at_border = strongest_patches(detector(), spots((0, 0, 5.0)), "3", [2], count=1)[2]
    assert (at_border[0].top, at_border[0].left) == (0, 0)
    first_layer = strongest_patches(detector(), images, "1", [0], count=1)[0]
    assert first_layer == [Patch(1, 2, 3, 5, 6)]


def test_weights_get_no_gradient_and_hooks_are_removed() -> None:
    net = detector()
    strongest_patches(net, spots((3, 4, 1.0)), "3", [0], 1)
    assert all(weight.grad is None for weight in net.parameters())
    assert not any(module._forward_hooks for module in net.modules())


@pytest.mark.parametrize(
    ("overrides", "pictures"),
    [
        ("model=lenet5 data=synthetic data.image_size=28 data.channels=1", 2),
        ("model=resnet20 model.width=0.5 data=synthetic data.image_size=32 data.channels=3", 2),
        ("model=mlp", 0),
        ("model=linear", 0),
        ("model=convnet data.target=attributes loss=attribute_logistic", 2),
        ("model=convnet preprocessing=pca preprocessing.components=9", 2),
    ],
    ids=["lenet5", "resnet20", "mlp", "linear", "attributes", "pca"],
)
def test_networks_with_maps_have_both_pictures(
    overrides: str, pictures: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cnntrain.assemble.run import build_parts
    from cnntrain.config.choice_files import Choices
    from cnntrain.config.pipeline import configure
    from cnntrain.report.pictures.feature_maps import maps_and_patches

    config = configure([*overrides.split(), "trainer.threads=1", "data.limit=200"], Choices()).config
    parts = build_parts(config, None, tmp_path, "")
    names = parts.splits.names if parts.splits.train.labels.ndim == 1 else []
    drawn = maps_and_patches(parts.step.network, parts.step.preprocess, parts.splits.val, names)
    assert len(drawn) == pictures
    for number, (caption, content) in enumerate(drawn):
        (tmp_path / f"{number}.png").write_bytes(content)
        with Image.open(tmp_path / f"{number}.png") as picture:
            assert min(picture.size) > 60
        assert ("highest scores" in caption) is (number == 0 and bool(names))
