"""Properties of every network in conf/model (sizes, channels, dropout) and of single architectures."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F

from cnntrain.model.resnet import BasicBlock
from cnntrain.model.settings.base import Model, chosen_form
from cnntrain.model.settings.external import TorchvisionModel
from cnntrain.model.settings.feedforward import ConvNet, Linear, Mlp
from cnntrain.model.settings.lenet import LeNet5
from cnntrain.model.settings.resnet import CifarPreactResNet, CifarResNet, PreactResNet, ResNet
from cnntrain.model.settings.vgg import Vgg


def on_meta(
    settings: Model, size: tuple[int, int], channels: int = 3, dropout: float | None = None
) -> nn.Module:
    with torch.device("meta"):
        return settings.build(channels, 7, size, dropout)


def forward(network: nn.Module, size: tuple[int, int], channels: int = 3) -> Tensor:
    outputs = network(torch.empty(2, channels, *size, device="meta"))
    # Auxiliary heads add outputs in training.
    scores: Tensor = outputs[0] if isinstance(outputs, tuple) else outputs
    return scores


def test_every_network_accepts_its_smallest_size_and_larger_images(tiny_network: Model) -> None:
    smallest = tiny_network.min_size((8, 8))
    for size in ((smallest, smallest), (smallest + 5, smallest + 12), (160, 128)):
        if min(size) >= tiny_network.min_size(size):
            assert forward(on_meta(tiny_network, size, channels=2), size, channels=2).shape == (2, 7)


@pytest.mark.parametrize(
    ("settings", "size"),
    [
        (ConvNet(channels=[2, 2, 2], normalization="none"), 8),
        (Vgg(), 32),
        (Vgg(form="imagenet"), 32),
        (TorchvisionModel(arch="inception_v3"), 75),
    ],
    ids=repr,
)
def test_one_pixel_below_the_smallest_size_is_too_small(settings: Model, size: int) -> None:
    assert settings.min_size((8, 8)) == size
    assert forward(on_meta(settings, (size, size)), (size, size)).shape == (2, 7)
    network = on_meta(settings, (size, size))
    with pytest.raises(RuntimeError, match=r"too small|can't be greater"):
        forward(network, (size - 1, size - 1))


def test_without_pooling_a_convnet_accepts_single_pixels() -> None:
    settings = ConvNet(channels=[2, 2, 2], pooling="none")
    assert settings.min_size((1, 1)) == 1
    assert forward(on_meta(settings, (1, 1)), (1, 1)).shape == (2, 7)


@pytest.mark.parametrize(
    "settings",
    [
        ResNet(form="small"),
        ResNet(form="imagenet"),
        ResNet(depth=50, form="imagenet"),
        CifarResNet(),
        PreactResNet(form="imagenet"),
        CifarPreactResNet(),
    ],
    ids=repr,
)
def test_residual_networks_end_with_a_map_of_2x2_at_their_smallest_size(settings: Model) -> None:
    size = (settings.min_size((8, 8)),) * 2
    network = on_meta(settings, size)
    shapes = []
    network.get_submodule("features").register_forward_hook(lambda _, __, maps: shapes.append(maps.shape[2:]))
    forward(network, size)
    assert shapes == [(2, 2)]


@pytest.mark.parametrize("arch", ["alexnet", "squeezenet1_0", "densenet121", "mobilenet_v3_small"])
def test_torchvision_networks_accept_64_pixels(arch: str) -> None:
    settings = TorchvisionModel(arch=arch)
    size = (settings.min_size((8, 8)),) * 2
    assert size == (64, 64)
    assert forward(on_meta(settings, size, channels=1), size, channels=1).shape == (2, 7)


def dropout_rates(network: nn.Module) -> list[float]:
    return [module.p for module in network.modules() if isinstance(module, nn.Dropout)]


# The papers' rates, for images of 160 pixels.
DEFAULT_RATES = {
    "vgg": [0.5, 0.5],
    "alexnet": [0.5, 0.5],
    "zfnet": [0.5, 0.5],
    "nin": [0.5],
    "googlenet": [0.7, 0.7, 0.4],
    "inception_v3": [0.5],
    "inception_v4": [0.2],
}


def test_dropout_overrides_every_rate_and_zero_removes_it(tiny_network: Model) -> None:
    size = (160, 160)
    defaults = dropout_rates(on_meta(tiny_network, size))
    assert defaults == DEFAULT_RATES.get(tiny_network.name, [])
    overridden = dropout_rates(on_meta(tiny_network, size, dropout=0.3))
    assert overridden
    assert set(overridden) == {0.3}
    assert not dropout_rates(on_meta(tiny_network, size, dropout=0.0))


def test_names_of_weights_do_not_depend_on_dropout(tiny_network: Model) -> None:
    size = (160, 160)
    without = on_meta(tiny_network, size, dropout=0.0).state_dict()
    assert without.keys() == on_meta(tiny_network, size, dropout=0.5).state_dict().keys()


@pytest.mark.parametrize(
    "settings",
    [Linear(), Mlp(hidden=[]), ConvNet(), LeNet5(), Vgg(), CifarResNet(), ResNet()],
    ids=repr,
)
def test_dropout_is_applied_before_the_last_linear_layer(settings: Model) -> None:
    size = (max(4, settings.min_size((8, 8))),) * 2
    network = settings.build(3, 7, size, 0.5)
    last = [module for module in network.modules() if isinstance(module, nn.Linear)][-1]
    captured: list[Tensor] = []
    last.register_forward_pre_hook(lambda _, inputs: captured.append(inputs[0]))
    images = torch.rand(16, 3, *size) + 0.5
    for training in (True, False):
        network.train(training)
        with torch.no_grad():
            network(images)
    with_dropout, without = ((values == 0).float().mean().item() for values in captured)
    # Half of the values that are not zero already.
    assert with_dropout == pytest.approx(without + 0.5 * (1 - without), abs=0.1)


def test_convnet_without_convolutions_and_hidden_layers_is_the_linear_classifier() -> None:
    network = ConvNet(channels=[], hidden=[]).build(3, 10, (6, 5), None)
    weight, bias = network.parameters()
    assert (weight.shape, bias.shape) == ((10, 90), (10,))
    images = torch.randn(4, 3, 6, 5)
    torch.testing.assert_close(network(images), images.reshape(4, 90) @ weight.T + bias)


def test_convnet_has_the_layers_of_its_settings() -> None:
    settings = ConvNet(
        channels=[2, 3], convs_per_block=2, pooling="average", hidden=[5], activation="elu", kernel_size=5
    )
    network = settings.build(1, 10, (9, 9), None)
    kinds = [type(module).__name__ for module in network.modules() if not list(module.children())]
    block = ["Conv2d", "BatchNorm2d", "ELU"] * 2 + ["AvgPool2d"]
    assert [kind for kind in kinds if kind != "Identity"] == [
        *block,
        *block,
        "Flatten",
        "Linear",
        "ELU",
        "Linear",
    ]
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    assert [convolution.out_channels for convolution in convolutions] == [2, 2, 3, 3]
    # 9 → 4 → 2 by pooling alone.
    assert [module.in_features for module in network.modules() if isinstance(module, nn.Linear)] == [12, 5]


def test_the_default_convnet_learns_digits() -> None:
    torch.manual_seed(0)
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16 - 0.3
    labels = torch.tensor(digits.target)
    network = ConvNet().build(1, 10, (8, 8), None)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)
    order = torch.randperm(len(images))
    for _ in range(4):
        for batch in order[:1400].split(64):
            optimizer.zero_grad()
            F.cross_entropy(network(images[batch]), labels[batch]).backward()
            optimizer.step()
    network.eval()
    with torch.no_grad():
        correct = network(images[order[1400:]]).argmax(1) == labels[order[1400:]]
    assert correct.float().mean() > 0.965


def test_shortcut_a_subsamples_and_adds_zero_channels() -> None:
    block = BasicBlock(2, 5, stride=2, option="A")
    nn.init.zeros_(block.norm2.weight)  # F = 0: only the shortcut is left
    maps = torch.rand(3, 2, 7, 6)
    expected = torch.zeros(3, 5, 4, 3)
    for row in range(4):
        for column in range(3):
            expected[:, :2, row, column] = maps[:, :, 2 * row, 2 * column]
    torch.testing.assert_close(block(maps), expected)


def test_a_residual_block_whose_residual_is_zero_is_the_identity() -> None:
    block = BasicBlock(4, 4, stride=1, option="A")
    nn.init.zeros_(block.norm2.weight)
    maps = torch.rand(2, 4, 5, 5, requires_grad=True)
    block(maps).sum().backward()
    torch.testing.assert_close(maps.grad, torch.ones_like(maps))


def test_shortcut_c_projects_in_every_block() -> None:
    for shortcut, projections in (("A", 0), ("B", 2), ("C", 9)):
        network = on_meta(CifarResNet(shortcut=shortcut), (32, 32))
        kernels = [module.kernel_size for module in network.modules() if isinstance(module, nn.Conv2d)]
        assert kernels.count((1, 1)) == projections


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        (CifarResNet(depth=21), "model.depth=21: must be 6n + 2; write 20 or 26"),
        (ConvNet(kernel_size=4), "model.kernel_size=4: must be odd with padding=same; write 3 or 5"),
        (
            TorchvisionModel(arch="vit_b_16"),
            "model.arch=vit_b_16: takes images of 224x224 only, these have 224x300; "
            "choose a network without transformer blocks",
        ),
    ],
    ids=repr,
)
def test_settings_that_cannot_be_built_are_reported_with_a_remedy(settings: Model, line: str) -> None:
    assert [*settings.problems(), *settings.input_problems(3, 10, (224, 300))] == [line]


def test_settings_in_conf_have_no_problems(network: Model) -> None:
    assert list(network.problems()) == []
    assert network.input_problems(3, 10, (32, 32)) == []


@pytest.mark.parametrize("name", ["mlp", "convnet", "lenet5", "linear", "torchvision", "custom"])
def test_a_file_named_like_its_option_has_the_defaults_of_the_option(name: str, choose: Any) -> None:
    settings = choose("model", name)
    assert settings == type(settings)()


def test_form_is_the_given_one_and_with_auto_follows_the_smaller_side() -> None:
    assert [chosen_form("auto", size) for size in ((127, 500), (128, 128))] == ["small", "imagenet"]
    assert [chosen_form(form, (64, 64)) for form in ("small", "imagenet")] == ["small", "imagenet"]


def test_settings_of_networks_import_no_torch() -> None:
    code = (
        "import sys\n"
        "from cnntrain.config.option_table import OPTIONS\n"
        "for option in OPTIONS['model']: option.name == 'timm' or option().min_size((32, 32))\n"
        "sys.exit('torch' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0


def test_gradients_reach_every_weight() -> None:
    # An in-place operation on a tensor that autograd still needs would raise here.
    for activation in ("relu", "leaky_relu", "elu", "tanh", "sigmoid"):
        settings = dataclasses.replace(ConvNet(), activation=activation, hidden=[8])
        network = settings.build(1, 3, (8, 8), 0.2)
        F.cross_entropy(network(torch.randn(16, 1, 8, 8)), torch.arange(16) % 3).backward()
        assert all(weight.grad is not None and weight.grad.abs().max() > 0 for weight in network.parameters())
