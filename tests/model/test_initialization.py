"""Where weights start: what the variance does, why zeros fail, and that networks can begin to learn."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cnntrain.config.initialization import Default, Gaussian, He, Initialization, Lecun, Uniform, Zeros
from cnntrain.config.model import ACTIVATIONS, ConvNet, LeNet5, Linear, Mlp, Model, ResNet, Vgg
from cnntrain.model import layers

Choose = Callable[[str, str], Any]


def relu_layers(depth: int, width: int) -> nn.Sequential:
    return nn.Sequential(*(nn.Sequential(nn.Linear(width, width), nn.ReLU()) for _ in range(depth)))


def mean_squares(network: nn.Sequential, inputs: Tensor) -> list[float]:
    values = []
    with torch.no_grad():
        for layer in network:
            inputs = layer(inputs)
            values.append(float(inputs.square().mean()))
    return values


@pytest.fixture
def ten_layers() -> nn.Sequential:
    torch.manual_seed(0)
    return relu_layers(10, 1024)


def test_he_keeps_the_mean_square_through_ten_relu_layers(ten_layers: nn.Sequential) -> None:
    He().apply(ten_layers)
    values = mean_squares(ten_layers, torch.randn(256, 1024))
    assert all(0.7 < value < 1.4 for value in values), values


def test_one_over_root_n_halves_the_mean_square_at_each_relu_layer(ten_layers: nn.Sequential) -> None:
    Lecun().apply(ten_layers)
    values = [1.0, *mean_squares(ten_layers, torch.randn(256, 1024))]
    for before, after in itertools.pairwise(values):
        assert after / before == pytest.approx(0.5, rel=0.15)


def test_fan_in_of_a_convolution_counts_its_whole_window() -> None:
    torch.manual_seed(0)
    convolution = nn.Conv2d(64, 256, 3)
    Lecun(bias=0.25).apply(convolution)
    assert float(convolution.weight.detach().std()) == pytest.approx((64 * 9) ** -0.5, rel=0.02)
    assert convolution.bias is not None
    assert set(convolution.bias.tolist()) == {0.25}


def test_gaussian_and_uniform_have_the_scale_asked_for() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(300, 300)
    Gaussian(std=0.5).apply(layer)
    assert float(layer.weight.detach().std()) == pytest.approx(0.5, rel=0.02)
    Uniform(scale=0.5).apply(layer)
    assert 0.49 < float(layer.weight.detach().max()) <= 0.5
    assert -0.5 <= float(layer.weight.detach().min()) < -0.49


@pytest.mark.parametrize("settings", [Zeros(), Gaussian(), Uniform(), Lecun(), He()])
def test_norms_stay_as_they_are(settings: Initialization) -> None:
    norm = nn.BatchNorm2d(3)
    nn.init.constant_(norm.weight, 0.7)
    nn.init.constant_(norm.bias, 0.3)
    settings.apply(nn.Sequential(nn.Conv2d(3, 3, 1), norm))
    assert norm.weight.tolist() == pytest.approx([0.7] * 3)
    assert norm.bias.tolist() == pytest.approx([0.3] * 3)


def test_default_leaves_every_weight_and_bias() -> None:
    network = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Flatten(), nn.Linear(3, 2))
    before = copy.deepcopy(network.state_dict())
    Default().apply(network)
    for key, value in network.state_dict().items():
        torch.testing.assert_close(value, before[key], rtol=0, atol=0)


def gradients_after_three_steps(settings: Initialization) -> tuple[Tensor, Tensor]:
    """Return the gradients of W1 (one row per hidden unit) and W2 (one column per hidden unit)."""
    torch.manual_seed(0)
    network = Mlp(hidden=[8], activation="sigmoid").build(1, 3, (4, 4), None)
    settings.apply(network)
    images, labels = torch.randn(32, 1, 4, 4), torch.arange(32) % 3
    optimizer = torch.optim.SGD(network.parameters(), lr=0.5)
    for _ in range(3):
        optimizer.zero_grad()
        F.cross_entropy(network(images), labels).backward()
        optimizer.step()
    first, last = (module.weight.grad for module in network.modules() if isinstance(module, nn.Linear))
    assert first is not None
    assert last is not None
    return first, last.T


def test_zeros_give_all_units_of_a_layer_the_same_gradient() -> None:
    for gradients in gradients_after_three_steps(Zeros()):
        assert float(gradients.abs().max()) > 0
        torch.testing.assert_close(gradients, gradients[:1].expand_as(gradients))


def test_random_weights_break_the_symmetry() -> None:
    for gradients in gradients_after_three_steps(Gaussian(std=0.1)):
        assert float((gradients - gradients[:1]).abs().max()) > 1e-5


@pytest.mark.parametrize("name", ["zeros", "gaussian", "uniform", "lecun", "he"])
def test_every_choice_sets_all_weights_of_a_network(name: str, choose: Choose) -> None:
    network = ConvNet(hidden=[8], normalization="none").build(1, 10, (8, 8), None)
    trained = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    for module in trained:
        nn.init.constant_(module.weight, 5.0)
        nn.init.constant_(module.bias, 5.0)  # type: ignore[arg-type]
    choose("initialization", name).apply(network)
    for module in trained:
        assert float(module.weight.detach().abs().max()) < 5
        assert module.bias is not None
        assert set(module.bias.tolist()) == {0.0}


NETWORKS: list[Model] = [
    Linear(),
    *(Mlp(hidden=[100] * 4, activation=name) for name in ("relu", "tanh", "elu", "leaky_relu")),
    ConvNet(),
    ConvNet(normalization="none", channels=[16, 32, 64], convs_per_block=3, hidden=[64, 64]),
    LeNet5(),
    LeNet5(activation="relu"),
    Vgg(depth=19),
    Vgg(depth=19, normalization="batch"),
    ResNet(depth=18),
    ResNet(depth=50),
]


@pytest.mark.parametrize("settings", NETWORKS, ids=repr)
def test_first_scores_are_moderate_and_not_vanishing(settings: Model) -> None:
    torch.manual_seed(0)
    network = settings.build(3, 10, (32, 32), None)
    with torch.no_grad():
        scores = network(torch.randn(16, 3, 32, 32))
    # Small scores make the first loss log(10); but images must differ, or no gradient reaches the start.
    assert float(scores.std()) <= 1
    assert float(scores.std(0).mean()) > 1e-3


def test_the_settings_offer_the_activations_and_poolings_that_exist() -> None:
    assert set(ACTIVATIONS) == layers.ACTIVATIONS.keys()
    for settings in (ConvNet(), LeNet5()):
        choices = type(settings).__dataclass_fields__["pooling"].metadata["rule"].choices
        assert set(choices) - {"none", "stride"} == layers.POOLINGS.keys()
