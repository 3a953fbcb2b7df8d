"""Image size, mean and deviation left to trained weights: those that torchvision and timm state."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from torch import Tensor
from torchvision.models import ResNet18_Weights

from cnntrain.config.choice_files import Choices
from cnntrain.config.pipeline import configure
from cnntrain.config.resolve_network_input import resolve_network_input
from cnntrain.config.short_forms import written_out
from cnntrain.data.image_set import MemoryImages
from cnntrain.errors import ConfigError
from cnntrain.settings.config_tree import Config


@pytest.fixture
def photos(tmp_path: Path) -> str:
    return str(tmp_path)


def configured(photos: str, *overrides: str) -> Config:
    return configure(["experiment=fine_tune", f"data.path={photos}", *overrides], Choices()).config


def preprocessed(config: Config, images: Tensor) -> Tensor:
    train = MemoryImages(images, torch.zeros(len(images), dtype=torch.int64))
    network_input = resolve_network_input(config, train.shape)
    module, _ = config.preprocessing.fit(train, network_input)
    inputs: Tensor = module(images)
    return inputs


def test_inputs_equal_those_of_torchvisions_transforms(photos: str) -> None:
    config = configured(photos)
    side = config.data.image_size
    images = torch.randint(256, (2, side, side, 3), dtype=torch.uint8)
    transforms = ResNet18_Weights.DEFAULT.transforms(resize_size=224)
    expected = transforms(images.permute(0, 3, 1, 2))
    assert expected.shape[2:] == (side, side)
    torch.testing.assert_close(preprocessed(config, images), expected, rtol=1e-5, atol=1e-5)


def test_size_mean_and_deviation_are_those_of_timm(photos: str) -> None:
    config = configured(photos, "model=timm_pretrained", "model.arch=test_vit")
    cfg = timm.get_pretrained_cfg("test_vit")
    assert config.data.image_size == cfg.input_size[1] == 160
    assert (tuple(config.preprocessing.mean), tuple(config.preprocessing.std)) == (cfg.mean, cfg.std)


def test_what_the_user_sets_is_kept(photos: str) -> None:
    config = configured(photos, "data.image_size=96", "preprocessing.std=[1,2,3]")
    assert (config.data.image_size, config.preprocessing.std) == (96, [1, 2, 3])
    assert config.preprocessing.mean == [0.485, 0.456, 0.406]


def test_without_trained_weights_images_have_64_pixels_and_there_is_no_mean(photos: str) -> None:
    untrained = ["data=folder", f"data.path={photos}", "model=resnet20"]
    assert configure(untrained, Choices()).config.data.image_size == 64
    with pytest.raises(ConfigError, match=r"^preprocessing=pretrained: there are no pretrained weights "):
        configure([*untrained, "preprocessing=pretrained"], Choices())


def test_grey_images_have_the_mean_over_the_channels() -> None:
    overrides = ["data=digits", "model=pretrained", "preprocessing=pretrained"]
    config = configure(
        [*overrides, "preprocessing.mean=[0.2,0.4,0.6]", "preprocessing.std=[1,2,3]"], Choices()
    ).config
    inputs = preprocessed(config, torch.full((1, 8, 8, 1), 255, dtype=torch.uint8))
    torch.testing.assert_close(inputs, torch.full_like(inputs, (1 - 0.4) / 2))


def test_an_experiment_for_fine_tuning_is_one_command(photos: str) -> None:
    short = configure(written_out([f"data={photos}", "experiment=fine_tune"], Choices()), Choices()).config
    assert short == configured(photos)
    assert (short.model.weights, short.model.head_epochs, short.averaging.name) == ("default", 2, "ema")
