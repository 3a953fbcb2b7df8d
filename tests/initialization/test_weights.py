"""Initial weights: variances, mean squares through the layers, the failure of zeros, and initial scores."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cnntrain.assemble.parts import build_criterion, build_network
from cnntrain.config.choice_files import Choices
from cnntrain.config.pipeline import configure
from cnntrain.config.resolve_network_input import resolve_network_input
from cnntrain.initialization import weights as initialization
from cnntrain.initialization.settings import (
    Default,
    Gaussian,
    Initialization,
    Sparse,
    Uniform,
    VarianceScaling,
    Zeros,
)
from cnntrain.model import shared_layers
from cnntrain.model.lenet_original import TABLE
from cnntrain.model.settings.base import ACTIVATIONS, Model
from cnntrain.model.settings.feedforward import ConvNet, Linear, Mlp
from cnntrain.model.settings.lenet import LeNet5
from cnntrain.model.settings.resnet import ResNet
from cnntrain.model.settings.vgg import Vgg
from cnntrain.model.shared_layers import LocallyConnected2d, TableConvolution

Choose = Callable[[str, str], Any]
CONF = Path(__file__).parents[2] / "conf"


def relu_layers(depth: int, width: int) -> nn.Sequential:
    return nn.Sequential(*(nn.Sequential(nn.Linear(width, width), nn.ReLU()) for _ in range(depth)))


def mean_squares(network: nn.Sequential, inputs: Tensor) -> list[float]:
    values = []
    with torch.no_grad():
        for layer in network:
            inputs = layer(inputs)
            values.append(float(inputs.square().mean()))
    return values


# One of each kind of layer, with the (channels, height, width) or units of an input for it.
LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "linear": (lambda: nn.Linear(20, 12), (20,)),
    "convolution": (lambda: nn.Conv2d(4, 6, 3), (4, 11, 10)),
    "grouped": (lambda: nn.Conv2d(4, 6, 3, groups=2), (4, 11, 10)),
    "dilated": (lambda: nn.Conv2d(2, 5, (3, 2), dilation=2), (2, 11, 11)),
    "local": (lambda: LocallyConnected2d(3, 4, 3, (11, 10)), (3, 11, 10)),
    "table": (lambda: TableConvolution(6, TABLE, 5), (6, 12, 12)),
}
# A preset and torch's equivalent function; from the same random numbers both give the same weights.
TORCH_INITIALIZERS: dict[str, Callable[[Tensor], Tensor]] = {
    "he": lambda weight: nn.init.kaiming_normal_(weight, nonlinearity="relu"),
    "lecun": lambda weight: nn.init.kaiming_normal_(weight, nonlinearity="linear"),
    "glorot": nn.init.xavier_uniform_,
    "variance_scaling": lambda weight: nn.init.kaiming_normal_(weight, nonlinearity="tanh"),
}


@pytest.fixture
def ten_layers() -> nn.Sequential:
    torch.manual_seed(0)
    return relu_layers(10, 1024)


@pytest.mark.parametrize("name", TORCH_INITIALIZERS)
@pytest.mark.parametrize("layer", [nn.Linear(300, 200), nn.Conv2d(20, 30, (5, 3))], ids=repr)
def test_presets_draw_the_same_weights_as_torch(
    name: str, layer: nn.Linear | nn.Conv2d, choose: Choose
) -> None:
    torch.manual_seed(0)
    choose("initialization", name).apply(layer, "tanh")
    torch.manual_seed(0)
    torch.testing.assert_close(
        layer.weight, nn.Parameter(TORCH_INITIALIZERS[name](torch.empty_like(layer.weight)))
    )


@pytest.mark.parametrize("fan", ["in", "out", "average"])
@pytest.mark.parametrize("distribution", ["gaussian", "uniform"])
def test_the_variance_of_weights_is_gain_over_fan(fan: str, distribution: str) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(400, 200)
    VarianceScaling(gain=3.0, fan=fan, distribution=distribution).apply(layer, "relu")
    weight, std = layer.weight.detach(), (3 / {"in": 400, "out": 200, "average": 300}[fan]) ** 0.5
    assert float(weight.std()) == pytest.approx(std, rel=0.01)
    assert float(weight.mean()) == pytest.approx(0, abs=0.02 * std)
    if distribution == "uniform":
        assert 0.999 * 3**0.5 * std < float(weight.abs().max()) <= 3**0.5 * std
    else:  # a fraction of 1 - erf(2/√2) lies beyond two standard deviations
        assert float((weight.abs() > 2 * std).float().mean()) == pytest.approx(0.0455, rel=0.05)


def interior(values: Tensor) -> Tensor:
    """Return the values away from the borders of a map; of a vector, all values."""
    return values if values.ndim == 1 else values[:, 4:-4, 4:-4]


def count_connections(layer: nn.Module, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Return the numbers of nonzero weights of each output and of each input.

    The nonzero weights are set to 1: an input of ones gives the first, its gradient the second.
    """
    with torch.no_grad():
        layer.weight.copy_(layer.weight != 0)  # type: ignore[operator, arg-type]
        layer.bias.zero_()  # type: ignore[operator]
    inputs = torch.ones(1, *shape, requires_grad=True)
    outputs = layer(inputs)
    outputs.sum().backward()
    assert inputs.grad is not None
    return outputs[0].detach(), inputs.grad[0]


@pytest.mark.parametrize("name", LAYERS)
def test_fan_in_is_the_number_of_weights_per_output_and_fan_out_per_input(name: str) -> None:
    build, shape = LAYERS[name]
    layer = build()
    fan_in, fan_out = initialization.fan_in(layer), initialization.fan_out(layer)
    nn.init.ones_(layer.weight)  # type: ignore[arg-type]
    per_output, per_input = count_connections(layer, shape)
    assert fan_in == pytest.approx(float(per_output.mean()))
    assert fan_out == pytest.approx(float(interior(per_input).mean()))


@pytest.mark.parametrize("name", ["linear", "convolution"])
def test_fans_equal_torch_for_linear_layers_and_convolutions(name: str) -> None:
    layer = LAYERS[name][0]()
    expected = nn.init._calculate_fan_in_and_fan_out(layer.weight)  # type: ignore[arg-type]
    assert (initialization.fan_in(layer), initialization.fan_out(layer)) == expected


@pytest.mark.parametrize("name", ["linear", "relu", "leaky_relu", "tanh", "sigmoid"])
def test_gains_are_the_squares_of_torchs_gains(name: Any) -> None:
    parameter = 0.01 if name == "leaky_relu" else None
    assert initialization.GAINS[name] == pytest.approx(nn.init.calculate_gain(name, parameter) ** 2)


def mean_square_of(activation: str) -> float:
    """Return E[f(z)²] by the rectangle rule, with z (for maxout, each piece) from N(0, 1)."""
    grid = torch.linspace(-8, 8, 1601, dtype=torch.float64)
    density = torch.exp(-grid.square() / 2) / (2 * math.pi) ** 0.5 * (grid[1] - grid[0])
    if activation == "maxout":
        pairs = torch.cartesian_prod(grid, grid)
        values, density = (
            shared_layers.activation("maxout")(pairs)[:, 0],
            torch.outer(density, density).flatten(),
        )
    else:
        values = shared_layers.activation(activation)(grid.clone())
    return float((values.square() * density).sum())


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_gain_compensates_the_mean_square_of_the_activation(activation: str) -> None:
    product = initialization.GAINS[activation] * mean_square_of(activation)
    # Torch's gains for tanh and sigmoid are conventions; these are their products.
    assert product == pytest.approx({"tanh": 1.0953, "sigmoid": 0.2934}.get(activation, 1.0), abs=1e-4)


# The gain of gelu and silu depends on the size of their inputs, so deviations grow from layer to layer.
@pytest.mark.parametrize("activation", sorted(set(ACTIVATIONS) - {"sigmoid", "gelu", "silu"}))
def test_the_gain_of_the_activation_preserves_the_mean_square_through_ten_layers(activation: str) -> None:
    torch.manual_seed(0)
    units = shared_layers.preactivations(512, activation)
    pairs = [nn.Sequential(nn.Linear(512, units), shared_layers.activation(activation)) for _ in range(10)]
    network = nn.Sequential(*pairs, nn.Linear(512, 512))
    VarianceScaling().apply(network, activation)
    images = torch.randn(256, 512) / initialization.GAINS[activation] ** 0.5
    assert mean_squares(network, images)[-1] == pytest.approx(1, rel=0.35)


def test_the_nonlinearity_of_a_network_is_its_activation() -> None:
    assert Linear().nonlinearity() == "linear"
    assert LeNet5().nonlinearity() == "tanh"
    assert Mlp(activation="elu").nonlinearity() == "elu"
    assert ResNet().nonlinearity() == "relu"
    overrides = ["model=mlp", "model.activation=maxout", "initialization=variance_scaling"]
    config = configure(overrides, Choices()).config
    criterion = build_criterion(config, [str(label) for label in range(10)], {})
    network, _ = build_network(config, criterion, resolve_network_input(config, (40, 40, 1)))
    weight = next(module.weight for module in network.modules() if isinstance(module, nn.Linear))
    assert float(weight.detach().std()) == pytest.approx(1 / 40, rel=0.01)  # 1/√(40·40), of gain 1


@pytest.mark.parametrize("settings", [VarianceScaling(gain=2.0), Sparse()], ids=repr)
def test_he_and_sparse_keep_the_mean_square_through_ten_relu_layers(
    ten_layers: nn.Sequential, settings: Initialization
) -> None:
    settings.apply(ten_layers, "relu")
    values = mean_squares(ten_layers, torch.randn(256, 1024))
    assert all(0.7 < value < 1.4 for value in values), values


def test_small_gaussian_weights_shrink_the_mean_square_through_ten_relu_layers(
    ten_layers: nn.Sequential,
) -> None:
    Gaussian(std=0.01).apply(ten_layers, "relu")
    values = mean_squares(ten_layers, torch.randn(256, 1024))
    # Each layer multiplies by 1024·0.01²/2 = 0.05: with fewer inputs, by less.
    assert values[-1] == pytest.approx((1024 * 0.01**2 / 2) ** 10, rel=0.5)


def test_variance_one_over_fan_in_halves_the_mean_square_at_each_relu_layer(
    ten_layers: nn.Sequential, choose: Choose
) -> None:
    choose("initialization", "lecun").apply(ten_layers, "relu")
    values = [1.0, *mean_squares(ten_layers, torch.randn(256, 1024))]
    for before, after in itertools.pairwise(values):
        assert after / before == pytest.approx(0.5, rel=0.15)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("direction", ["in", "out"])
@pytest.mark.parametrize("connections", [7, 1000])
def test_sparse_keeps_the_given_number_of_weights_per_unit(
    name: str, direction: str, connections: int
) -> None:
    build, shape = LAYERS[name]
    layer, dense = build(), build()
    Sparse(connections=connections, direction=direction, std=0.5).apply(layer, "relu")
    nn.init.ones_(dense.weight)  # type: ignore[arg-type]
    index = 0 if direction == "in" else 1
    counts, limits = count_connections(layer, shape)[index], count_connections(dense, shape)[index]
    if direction == "out" and name != "local":  # shared weights are all used only away from the borders
        counts, limits = interior(counts), interior(limits)
    torch.testing.assert_close(counts, limits.clamp(max=connections))


def test_sparse_has_torchs_number_of_zeros_and_standard_deviation() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(500, 40)
    Sparse(connections=10, direction="out", std=0.01).apply(layer, "relu")
    expected = nn.init.sparse_(torch.empty(40, 500), sparsity=0.75, std=0.01)
    assert torch.equal((layer.weight == 0).sum(0), (expected == 0).sum(0))
    nonzero = layer.weight.detach()[layer.weight != 0]
    assert float(nonzero.std()) == pytest.approx(0.01, rel=0.03)
    assert (layer.weight != 0).sum(1).unique().numel() > 1  # the number per output is random


def test_positions_of_sparse_weights_are_uniformly_distributed() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(20, 20_000)
    Sparse(connections=5).apply(layer, "relu")
    frequencies = (layer.weight != 0).float().mean(0)
    torch.testing.assert_close(
        frequencies, torch.full((20,), 0.25), rtol=0, atol=0.015
    )  # five standard deviations


def test_gaussian_and_uniform_have_the_given_scale() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(300, 300)
    Gaussian(std=0.5).apply(layer, "relu")
    assert float(layer.weight.detach().std()) == pytest.approx(0.5, rel=0.02)
    Uniform(scale=0.5).apply(layer, "relu")
    assert 0.49 < float(layer.weight.detach().max()) <= 0.5
    assert -0.5 <= float(layer.weight.detach().min()) < -0.49


@pytest.mark.parametrize("settings", [Zeros(), Gaussian(), Uniform(), VarianceScaling(), Sparse()])
def test_normalization_layers_are_unchanged(settings: Initialization) -> None:
    norm = nn.BatchNorm2d(3)
    nn.init.constant_(norm.weight, 0.7)
    nn.init.constant_(norm.bias, 0.3)
    settings.apply(nn.Sequential(nn.Conv2d(3, 3, 1), norm), "relu")
    assert norm.weight.tolist() == pytest.approx([0.7] * 3)
    assert norm.bias.tolist() == pytest.approx([0.3] * 3)


def test_default_leaves_every_weight_and_bias_unchanged() -> None:
    network = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Flatten(), nn.Linear(3, 2))
    before = copy.deepcopy(network.state_dict())
    Default().apply(network, "relu")
    for key, value in network.state_dict().items():
        torch.testing.assert_close(value, before[key], rtol=0, atol=0)


def after_ten_steps(settings: Initialization) -> tuple[Tensor, Tensor]:
    """Return W1 and the transpose of W2 of a trained perceptron: a row for each hidden unit."""
    torch.manual_seed(0)
    network = Mlp(hidden=[8], activation="sigmoid").build(1, 3, (4, 4), None)
    settings.apply(network, "sigmoid")
    images, labels = torch.randn(30, 1, 4, 4), torch.arange(30) % 3 // 2
    optimizer = torch.optim.SGD(network.parameters(), lr=0.5, momentum=0.9)
    for _ in range(10):
        optimizer.zero_grad()
        F.cross_entropy(network(images), labels).backward()
        optimizer.step()
    first, last = (module.weight.detach() for module in network.modules() if isinstance(module, nn.Linear))
    return first, last.T


def test_hidden_units_that_start_at_zero_stay_equal_during_training() -> None:
    for weights in after_ten_steps(Zeros()):
        assert float(weights.abs().max()) > 0.01
        torch.testing.assert_close(weights, weights[:1].expand_as(weights))


def test_random_weights_break_the_symmetry() -> None:
    for weights in after_ten_steps(Gaussian()):
        assert float((weights - weights[:1]).abs().max()) > 0.01


def test_filters_that_start_at_zero_get_no_gradient_with_relu() -> None:
    network = ConvNet(normalization="none").build(1, 3, (8, 8), None)
    Zeros().apply(network, "relu")
    F.cross_entropy(network(torch.randn(16, 1, 8, 8)), torch.arange(16) % 3).backward()
    with_gradient = {name for name, weight in network.named_parameters() if weight.grad.abs().max() > 0}
    assert with_gradient == {"head.output.bias"}


CHOICES = sorted(path.stem for path in (CONF / "initialization").glob("*.yaml"))


@pytest.mark.parametrize("name", sorted(set(CHOICES) - {"default", "from_run", "whitening"}))
def test_every_choice_sets_all_weights_and_sets_biases_to_the_constant(name: str, choose: Choose) -> None:
    network = ConvNet(hidden=[8], normalization="none", locally_connected=1).build(1, 10, (8, 8), None)
    modules = [module for module in network.modules() if hasattr(module, "bias")]
    assert len(modules) == 6
    for module in modules:
        nn.init.constant_(module.weight, 5.0)
        nn.init.constant_(module.bias, 5.0)
    settings = choose("initialization", name)
    bias = 0.0
    if name != "zeros":
        settings.bias = bias = 0.01
    settings.apply(network, "relu")
    for module in modules:
        assert float(module.weight.detach().abs().max()) < 5
        assert module.bias.tolist() == pytest.approx([bias] * module.bias.numel())


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
def test_initial_scores_are_moderate_and_differ_between_images(settings: Model) -> None:
    torch.manual_seed(0)
    network = settings.build(3, 10, (32, 32), None)
    with torch.no_grad():
        scores = network(torch.randn(16, 3, 32, 32))
    # Small scores give a first loss of log(10); they must differ between images, or gradients vanish.
    assert float(scores.std()) <= 1
    assert float(scores.std(0).mean()) > 1e-3


def test_the_choices_of_settings_are_the_implemented_activations_and_poolings() -> None:
    assert set(ACTIVATIONS) == shared_layers.ACTIVATIONS.keys()
    for settings in (ConvNet(), LeNet5()):
        choices = type(settings).__dataclass_fields__["pooling"].metadata["rule"].choices
        assert set(choices) - {"none", "stride"} == shared_layers.POOLINGS.keys()
