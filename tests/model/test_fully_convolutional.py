"""Networks applied as convolutions to larger images, against the same networks on crops (E5, L8)."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cnntrain.errors import ConfigError
from cnntrain.model.fully_convolutional import SlidingNetwork, fully_convolutional, own_stride
from cnntrain.model.settings.base import Model
from cnntrain.model.settings.external import TorchvisionModel
from cnntrain.model.settings.feedforward import ConvNet, Linear, Mlp
from cnntrain.model.settings.lenet import LeNet5
from cnntrain.model.settings.vgg import Vgg


def trained(settings: Model, size: tuple[int, int], channels: int = 3) -> nn.Module:
    """Return a network whose scores differ from image to image, as trained ones do."""
    torch.manual_seed(0)
    network = settings.build(channels, 7, size, None).eval()
    with torch.no_grad():
        for weight in network.parameters():
            weight += 0.02 * torch.randn_like(weight)
    return network


def assert_close(outputs: Tensor, expected: Tensor) -> None:
    scale = float(expected.abs().max())
    torch.testing.assert_close(outputs, expected, rtol=1e-5, atol=1e-5 * scale)


@torch.no_grad()
def test_every_network_is_rewritten_as_convolutions_with_equal_scores(tiny_network: Model) -> None:
    side = max(32, tiny_network.min_size((32, 32)))
    model = trained(tiny_network, (side, side + 6))
    convolutional = fully_convolutional(model, (3, side, side + 6))
    assert not any(isinstance(module, nn.Linear | nn.Flatten) for module in convolutional.modules())
    images = torch.randn(2, 3, side, side + 6)
    scores = convolutional(images)
    assert scores.shape == (2, 7, 1, 1)
    assert_close(scores.flatten(1), model(images))


@pytest.mark.parametrize("side", [192, 256])
@torch.no_grad()
def test_adaptive_pooling_and_the_next_linear_layer_become_one_convolution(side: int) -> None:
    # 6 → 7: bins overlap; 8 → 7: likewise.
    model = trained(Vgg(form="imagenet", width=0.03), (side, side))
    images = torch.randn(2, 3, side, side)
    assert_close(fully_convolutional(model, (3, side, side))(images).flatten(1), model(images))


# Stride 32, as most networks for 224x224; no zero padding.
UNPADDED = ConvNet(
    channels=[3, 4, 5, 6, 6], convs_per_block=1, padding="valid", normalization="none", hidden=[9]
)


@pytest.mark.parametrize(("stride", "positions"), [(None, 6), (32, 6), (16, 11)])
@torch.no_grad()
def test_scores_on_384_pixels_equal_those_of_the_crops(stride: int | None, positions: int) -> None:
    model = trained(UNPADDED, (224, 224))
    images = torch.randn(2, 3, 384, 384)
    sliding = SlidingNetwork(model, (3, 224, 224), stride)
    scores = sliding.score_map(images)
    assert scores.shape == (2, 7, positions, positions)
    step = stride or 32
    for row, column in itertools.product(range(positions), repeat=2):
        crop = images[:, :, row * step : row * step + 224, column * step : column * step + 224]
        assert_close(scores[:, :, row, column], model(crop))
    assert_close(sliding(images), scores.mean((2, 3)))


@torch.no_grad()
def test_crops_are_in_the_order_of_positions() -> None:
    model = trained(ConvNet(channels=[4], padding="valid"), (8, 8), 1)
    sliding = SlidingNetwork(model, (1, 8, 8))
    images = torch.randn(3, 1, 12, 14)
    dense = sliding.score_map(images)
    assert dense.shape == (3, 7, 3, 4)
    expected = dense.permute(2, 3, 0, 1).reshape(-1, 7)
    assert_close(model(sliding.crops(images)), expected)


@torch.no_grad()
def test_zero_padding_changes_scores_except_at_the_networks_own_size() -> None:
    model = trained(ConvNet(channels=[4, 4]), (16, 16), 1)
    sliding = SlidingNetwork(model, (1, 16, 16))
    images = torch.randn(2, 1, 24, 24)
    assert_close(sliding(images[:, :, :16, :16]), model(images[:, :, :16, :16]))
    inside = sliding.score_map(images)[:, :, 1, 1]
    assert (inside - model(images[:, :, 4:20, 4:20])).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("settings", "side", "stride"),
    [
        (LeNet5(), 32, 4),
        (ConvNet(), 8, 4),
        (ConvNet(pooling="none"), 8, 1),
        (Vgg(form="imagenet"), 224, 32),
        (Linear(), 5, 1),
        (Mlp(), 5, 1),
    ],
    ids=repr,
)
def test_the_stride_of_a_network_is_the_product_of_its_strides(
    settings: Model, side: int, stride: int
) -> None:
    with torch.device("meta"):
        network = settings.build(3, 7, (side, side), None)
    assert own_stride(network, (3, side, side)) == stride


@pytest.mark.parametrize("name", ["alexnet", "zfnet", "resnet18", "preact_resnet50"])
def test_networks_for_imagenet_have_stride_32(name: str, choose: Any) -> None:
    with torch.device("meta"):
        network = choose("model", name).build(3, 7, (224, 224), None)
    assert own_stride(network, (3, 224, 224)) == 32


def refusal(settings: Model, stride: int | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        SlidingNetwork(settings.build(1, 7, (64, 64), None), (1, 64, 64), stride)
    (line,) = caught.value.problems
    return line


def test_networks_that_cannot_slide_are_refused_with_the_reason() -> None:
    assert "dense_stride=3: must divide the network's own stride 4: 1, 2, 4" in refusal(ConvNet(), 3)
    assert "locally connected" in refusal(ConvNet(locally_connected=1, channels=[2]))
    assert "cnntrain's own" in refusal(TorchvisionModel(arch="squeezenet1_1"))
    model = trained(ConvNet(), (16, 16), 1)
    with pytest.raises(ConfigError, match="12x20 are smaller than 16x16"):
        SlidingNetwork(model, (1, 16, 16))(torch.randn(1, 1, 12, 20))
