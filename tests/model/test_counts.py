"""Parameter counts as published, taken on the meta device."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import nn

from cnntrain.config.model import ConvNet, LeNet5, Mlp, Model, ResNet, Vgg

SMALL, LARGE = (32, 32), (224, 224)

# torchvision's documentation, and the papers: choice → parameters for 224x224x3 and 1000 classes.
IMAGENET = {
    "vgg11": 132_863_336,
    "vgg13": 133_047_848,
    "vgg16": 138_357_544,
    "vgg19": 143_667_240,
    "vgg11_bn": 132_868_840,
    "vgg13_bn": 133_053_736,
    "vgg16_bn": 138_365_992,
    "vgg19_bn": 143_678_248,
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
}

# For 32x32x3 and 10 classes.
CIFAR = {
    "vgg11": 9_225_610,
    "vgg13": 9_410_122,
    "vgg16": 14_719_818,
    "vgg19": 20_029_514,
    "vgg11_bn": 9_231_114,
    "vgg13_bn": 9_416_010,
    "vgg16_bn": 14_728_266,
    "vgg19_bn": 20_040_522,
    "resnet18": 11_173_962,
    "resnet34": 21_282_122,
    "resnet50": 23_520_842,
    "resnet101": 42_512_970,
    "resnet152": 58_156_618,
    "resnet20": 269_722,
    "resnet32": 464_154,
    "resnet44": 658_586,
    "resnet56": 853_018,
    "resnet110": 1_727_962,
}

# The residual networks for 32x32 with projections where shapes differ.
OPTION_B = {
    "resnet20": 272_474,
    "resnet32": 466_906,
    "resnet44": 661_338,
    "resnet56": 855_770,
    "resnet110": 1_730_714,
}


def built(settings: Model, channels: int, classes: int, size: tuple[int, int]) -> nn.Module:
    with torch.device("meta"):
        return settings.build(channels, classes, size, None)


def parameters(module: nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())


@pytest.mark.parametrize("name", IMAGENET)
def test_imagenet_form_has_the_published_parameters(name: str, choose: Any) -> None:
    assert parameters(built(choose("model", name), 3, 1000, LARGE)) == IMAGENET[name]


@pytest.mark.parametrize("name", CIFAR)
def test_form_for_32x32_has_the_published_parameters(name: str, choose: Any) -> None:
    assert parameters(built(choose("model", name), 3, 10, SMALL)) == CIFAR[name]


@pytest.mark.parametrize("name", OPTION_B)
def test_projection_shortcuts_have_the_published_parameters(name: str, choose: Any) -> None:
    settings = dataclasses.replace(choose("model", name), shortcut="B")
    assert parameters(built(settings, 3, 10, SMALL)) == OPTION_B[name]


@pytest.mark.parametrize("side", [28, 32])
def test_lenet5_has_61_706_parameters(side: int) -> None:
    assert parameters(built(LeNet5(), 1, 10, (side, side))) == 61_706


def test_perceptrons_of_the_notes_have_26_and_41_parameters() -> None:
    # Three inputs: one pixel of three channels.
    assert parameters(built(Mlp(hidden=[4]), 3, 2, (1, 1))) == 26
    assert parameters(built(Mlp(hidden=[4, 4]), 3, 1, (1, 1))) == 41


@pytest.mark.parametrize("name", [*IMAGENET, "resnet20", "resnet110"])
def test_depth_is_the_number_of_layers_with_weights(name: str, choose: Any) -> None:
    settings = choose("model", name)
    network = built(settings, 3, 10, LARGE)
    # The paper does not count projections.
    layers = [
        layer_name
        for layer_name, module in network.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear) and "downsample" not in layer_name
    ]
    assert len(layers) == settings.depth


@pytest.mark.parametrize("settings", [Vgg(), ResNet()], ids=["vgg", "resnet"])
def test_auto_takes_the_imagenet_form_from_128_pixels_on(settings: Any) -> None:
    large = dataclasses.replace(settings, form="imagenet")
    small = dataclasses.replace(settings, form="small")
    for size, form in (((127, 200), small), ((128, 200), large)):
        assert parameters(built(settings, 3, 10, size)) == parameters(built(form, 3, 10, size))
    assert parameters(built(small, 3, 10, LARGE)) < parameters(built(large, 3, 10, LARGE))


def test_convnet_counts_follow_from_its_pattern() -> None:
    settings = ConvNet(channels=[4], convs_per_block=2, batch_norm=False, hidden=[5])
    # 3x3x1x4 + 4, 3x3x4x4 + 4, (4·4·4)·5 + 5 after one pooling of 8x8, 5·10 + 10
    assert parameters(built(settings, 1, 10, (8, 8))) == 40 + 148 + 325 + 60
