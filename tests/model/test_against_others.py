"""Networks have the outputs of torchvision's and timm's with the same weights."""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any

import pytest
import torch
from torch import nn
from torchvision import models


def with_random_norms(network: nn.Module) -> nn.Module:
    """Randomize weights and statistics of batch norms: the defaults would hide a misplaced one."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for values in (module.weight, module.running_var):
                nn.init.uniform_(values, 0.5, 1.5)
            for values in (module.bias, module.running_mean):
                nn.init.normal_(values, std=0.1)
    return network


def copy_weights(ours: nn.Module, theirs: nn.Module) -> None:
    """Copy weights and statistics in their order; the names differ."""
    names, values = ours.state_dict().keys(), theirs.state_dict().values()
    ours.load_state_dict(dict(zip(names, values, strict=True)), assign=True)


def assert_equal_outputs(ours: nn.Module, theirs: nn.Module, images: torch.Tensor) -> None:
    with torch.no_grad():
        expected = theirs(images)
        torch.testing.assert_close(ours(images), expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize(
    ("name", "torchvision_name"),
    [
        ("vgg11", "vgg11"),
        ("vgg11_bn", "vgg11_bn"),
        ("alexnet_torchvision", "alexnet"),
        ("resnet18", "resnet18"),
        ("resnet50", "resnet50"),
    ],
)
def test_outputs_equal_torchvision(name: str, torchvision_name: str, choose: Any) -> None:
    torch.manual_seed(0)
    options: dict[str, Any] = {"init_weights": False} if name.startswith("vgg") else {}
    theirs = with_random_norms(models.get_model(torchvision_name, num_classes=7, **options)).eval()
    # AlexNet's first hidden layer needs 224 pixels; the others are faster on smaller images.
    side = 224 if name.startswith("alexnet") else 128
    with torch.device("meta"):
        ours = choose("model", name).build(3, 7, (side, side), None).eval()
    copy_weights(ours, theirs)
    size = (side, side) if name.startswith("alexnet") else (64, 96)
    assert_equal_outputs(ours, theirs, torch.randn(2, 3, *size))


def test_preactivation_outputs_equal_timm(choose: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warnings of timm's import
        timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    theirs = with_random_norms(timm.create_model("resnetv2_50", num_classes=7)).eval()
    with torch.device("meta"):
        ours = choose("model", "preact_resnet50").build(3, 7, (128, 128), None).eval()
    names = [name for name in ours.state_dict() if not name.startswith("head.")]
    values = list(theirs.state_dict().values())
    # timm's head is a 1x1 convolution.
    weights = dict(zip(names, values, strict=False))
    weights |= {"head.output.weight": values[-2].flatten(1), "head.output.bias": values[-1]}
    ours.load_state_dict(weights, assign=True)
    assert_equal_outputs(ours, theirs, torch.randn(2, 3, 64, 96))


@pytest.mark.parametrize("name", ["vgg19_bn", "resnet152"])
def test_state_dicts_have_torchvisions_order_and_shapes(name: str, choose: Any) -> None:
    with torch.device("meta"):
        theirs = models.get_model(name).state_dict()
        ours = choose("model", name).build(3, 1000, (224, 224), None).state_dict()
    assert [value.shape for value in ours.values()] == [value.shape for value in theirs.values()]


def test_a_grouped_convolution_equals_two_convolutions_of_half_the_channels(choose: Any) -> None:
    """AlexNet's conv2 on each GPU reads only that GPU's half of conv1."""
    torch.manual_seed(0)
    settings = dataclasses.replace(choose("model", "alexnet"), normalization="none", width=0.125)
    unit = settings.build(3, 7, (227, 227), None).features.conv2
    maps = torch.randn(2, 12, 9, 9)
    halves = [
        nn.functional.conv2d(part, weight, bias, padding=2)
        for part, weight, bias in zip(
            maps.chunk(2, 1), unit.conv.weight.chunk(2), unit.conv.bias.chunk(2), strict=True
        )
    ]
    torch.testing.assert_close(unit.conv(maps), torch.cat(halves, 1))


def test_the_whitened_convnet_equals_its_layers_written_out(choose: Any) -> None:
    torch.manual_seed(0)
    ours = choose("model", "whitened_convnet").build(3, 10, (32, 32), None).eval()
    with_random_norms(ours)
    images = torch.randn(2, 3, 32, 32)
    weights = dict(ours.named_parameters()) | dict(ours.named_buffers())

    def norm_and_gelu(maps: torch.Tensor, name: str) -> torch.Tensor:
        norm = (weights[f"features.norm{name}.{part}"] for part in ("running_mean", "running_var", "weight"))
        bias = weights[f"features.norm{name}.bias"]
        return nn.functional.gelu(nn.functional.batch_norm(maps, *norm, bias))

    maps = nn.functional.conv2d(images, weights["features.whiten.weight"], weights["features.whiten.bias"])
    maps = nn.functional.gelu(maps)
    for block in (1, 2, 3):
        first, second = (weights[f"features.conv{block}_{index}.weight"] for index in (1, 2))
        maps = nn.functional.max_pool2d(nn.functional.conv2d(maps, first, padding=1), 2)
        maps = norm_and_gelu(maps, f"{block}_1")
        maps = norm_and_gelu(nn.functional.conv2d(maps, second, padding=1), f"{block}_2")
    assert maps.shape == (2, 256, 3, 3)
    torch.testing.assert_close(ours(images), maps.amax((2, 3)) @ weights["head.output.weight"].T)
