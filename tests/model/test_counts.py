"""Parameter counts as published, computed on the meta device."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import nn

from cnntrain.model.settings.base import Model
from cnntrain.model.settings.feedforward import ConvNet, Mlp
from cnntrain.model.settings.lenet import LeNet5
from cnntrain.model.settings.resnet import ResNet
from cnntrain.model.settings.vgg import Vgg

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
    "alexnet": 60_965_224,
    "alexnet_ungrouped": 62_378_344,
    "alexnet_torchvision": 61_100_840,
    "zfnet": 62_357_608,
    "zfnet_wide": 107_627_624,
    "nin": 7_595_176,
    "preact_resnet50": 25_549_352,  # timm's resnetv2_50
    "preact_resnet101": 44_541_480,  # timm's resnetv2_101
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
    # Shortcuts of option A have no weights: the count is that of the residual network.
    "plain20": 269_722,
    "plain56": 853_018,
    "nin": 966_986,
    # "1.97 million" in the paper, whitening filters and frozen scales included.
    "whitened_convnet": 1_972_792,
}

# The residual networks for 32x32 with projections where shapes differ.
OPTION_B = {
    "resnet20": 272_474,
    "resnet32": 466_906,
    "resnet44": 661_338,
    "resnet56": 855_770,
    "resnet110": 1_730_714,
}


def build(settings: Model, channels: int, classes: int, size: tuple[int, int]) -> nn.Module:
    with torch.device("meta"):
        return settings.build(channels, classes, size, None)


def parameters(module: nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())


@pytest.mark.parametrize("name", IMAGENET)
def test_imagenet_form_has_the_published_parameters(name: str, choose: Any) -> None:
    assert parameters(build(choose("model", name), 3, 1000, LARGE)) == IMAGENET[name]


@pytest.mark.parametrize("name", CIFAR)
def test_form_for_32x32_has_the_published_parameters(name: str, choose: Any) -> None:
    assert parameters(build(choose("model", name), 3, 10, SMALL)) == CIFAR[name]


@pytest.mark.parametrize("name", OPTION_B)
def test_projection_shortcuts_have_the_published_parameters(name: str, choose: Any) -> None:
    settings = dataclasses.replace(choose("model", name), shortcut="B")
    assert parameters(build(settings, 3, 10, SMALL)) == OPTION_B[name]


@pytest.mark.parametrize("side", [28, 32])
def test_lenet5_has_61_706_parameters(side: int) -> None:
    assert parameters(build(LeNet5(), 1, 10, (side, side))) == 61_706


def test_perceptrons_of_the_notes_have_26_and_41_parameters() -> None:
    # Three inputs: one pixel of three channels.
    assert parameters(build(Mlp(hidden=[4]), 3, 2, (1, 1))) == 26
    assert parameters(build(Mlp(hidden=[4, 4]), 3, 1, (1, 1))) == 41


def test_network_in_network_for_100_classes_has_984_356_parameters(choose: Any) -> None:
    assert parameters(build(choose("model", "nin"), 3, 100, SMALL)) == 984_356


@pytest.mark.parametrize("side", [28, 32])
def test_lenet5_as_published_has_60_000_parameters(side: int, choose: Any) -> None:
    network = build(choose("model", "lenet5_original"), 1, 10, (side, side))
    assert parameters(network) == 60_000
    # The paper's own sums: C1, S2, C3, S4, C5, F6.
    layers = [parameters(part) for part in [*network.features, *network.head] if parameters(part)]
    assert layers == [156, 12, 1_516, 32, 48_120, 10_164]


@pytest.mark.parametrize("side", [224, 227])
def test_alexnet_has_the_papers_map_sizes_for_224_and_227_pixels(side: int, choose: Any) -> None:
    network = build(choose("model", "alexnet"), 3, 1000, (side, side))
    assert parameters(network) == 60_965_224
    maps = torch.empty(1, 3, side, side, device="meta")
    sides = []
    for part in network.features:
        maps = part(maps)
        sides.append(maps.shape[-1])
    assert sides == [55, 55, 27, 27, 27, 13, 13, 13, 13, 6]


@pytest.mark.parametrize("name", ["preact_resnet110", "preact_resnet164", "resnet110"])
def test_depth_of_small_image_networks_counts_the_layers_with_weights(name: str, choose: Any) -> None:
    settings = choose("model", name)
    network = build(settings, 3, 10, SMALL)
    layers = [
        layer_name
        for layer_name, module in network.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear) and ".fit" not in layer_name
    ]
    assert len(layers) == settings.depth


DEPTHS = [name for name in IMAGENET if name.startswith(("vgg", "resnet"))]


@pytest.mark.parametrize("name", [*DEPTHS, "resnet20", "resnet110"])
def test_depth_is_the_number_of_layers_with_weights(name: str, choose: Any) -> None:
    settings = choose("model", name)
    network = build(settings, 3, 10, LARGE)
    # The paper does not count projections.
    layers = [
        layer_name
        for layer_name, module in network.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear) and "shortcut" not in layer_name
    ]
    assert len(layers) == settings.depth


@pytest.mark.parametrize("settings", [Vgg(), ResNet()], ids=["vgg", "resnet"])
def test_form_auto_is_the_imagenet_form_from_128_pixels_on(settings: Any) -> None:
    large = dataclasses.replace(settings, form="imagenet")
    small = dataclasses.replace(settings, form="small")
    for size, form in (((127, 200), small), ((128, 200), large)):
        assert parameters(build(settings, 3, 10, size)) == parameters(build(form, 3, 10, size))
    assert parameters(build(small, 3, 10, LARGE)) < parameters(build(large, 3, 10, LARGE))


def test_the_parameters_of_convnet_follow_from_its_settings() -> None:
    settings = ConvNet(channels=[4], convs_per_block=2, normalization="none", hidden=[5])
    # 3x3x1x4 + 4, 3x3x4x4 + 4, (4·4·4)·5 + 5 after one pooling of 8x8, 5·10 + 10
    assert parameters(build(settings, 1, 10, (8, 8))) == 40 + 148 + 325 + 60
