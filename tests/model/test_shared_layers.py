"""Layers that torch does not have, against loops, other operators and finite differences."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cnntrain.initialization.weights import NO_WEIGHT
from cnntrain.loss.settings import RejectingSoftmax
from cnntrain.model import shared_layers
from cnntrain.model.feature_map_sizes import Window, min_input, output_size
from cnntrain.model.lenet_original import TABLE, DistanceToCodes, Subsampling, codes
from cnntrain.model.settings.feedforward import ConvNet
from cnntrain.model.shared_layers import (
    ConvUnit,
    L2Pool2d,
    LocallyConnected2d,
    Maxout,
    ScaledTanh,
    TableConvolution,
)


@pytest.mark.parametrize(("stride", "padding", "dilation"), [(1, 0, 1), (2, 1, 1), (1, 2, 2)])
def test_a_locally_connected_layer_with_one_filter_everywhere_is_a_convolution(
    stride: int, padding: int, dilation: int
) -> None:
    torch.manual_seed(0)
    convolution = nn.Conv2d(3, 5, 3, stride, padding, dilation)
    local = LocallyConnected2d(3, 5, 3, (7, 6), stride, padding, dilation)
    images = torch.randn(4, 3, 7, 6)
    expected = convolution(images)
    assert convolution.bias is not None
    with torch.no_grad():
        local.weight.copy_(convolution.weight.flatten(1).expand_as(local.weight))
        local.bias.copy_(convolution.bias.repeat_interleave(len(local.weight)))
    torch.testing.assert_close(local(images), expected)


def test_a_locally_connected_layer_has_separate_filters_at_each_position() -> None:
    torch.manual_seed(0)
    local = LocallyConnected2d(2, 3, 3, (5, 6)).double()
    nn.init.normal_(local.bias)
    images = torch.randn(2, 2, 5, 6, dtype=torch.float64)
    outputs, bias = local(images), local.bias.reshape(3, 3, 4)
    assert outputs.shape == (2, 3, 3, 4)
    for row in range(3):
        for column in range(4):
            window = images[:, :, row : row + 3, column : column + 3].flatten(1)
            expected = window @ local.weight[4 * row + column].T + bias[:, row, column]
            torch.testing.assert_close(outputs[:, :, row, column], expected)
    assert torch.autograd.gradcheck(local, images.requires_grad_())


def index_sets(layer: LocallyConnected2d | TableConvolution, direction: str) -> set[frozenset[int]]:
    """Return the indices of the weights of each output ("in") or input ("out")."""
    rows = layer.weight_indices(direction).tolist()
    return {frozenset(row) - {NO_WEIGHT} for row in rows}


def acting_weights(layer: nn.Module, maps: Tensor, output: Any = ...) -> frozenset[int]:
    """Return the indices of the weights that act on the outputs chosen, by their gradient."""
    (gradient,) = torch.autograd.grad(layer(maps)[0][output].sum(), [layer.get_parameter("weight")])
    return frozenset(gradient.flatten().nonzero().flatten().tolist())


@pytest.mark.parametrize(("stride", "padding", "dilation"), [(1, 0, 1), (2, 1, 1), (1, 1, 2), (3, 0, 2)])
def test_a_locally_connected_layer_knows_the_weights_of_each_output_and_each_input(
    stride: int, padding: int, dilation: int
) -> None:
    local = LocallyConnected2d(2, 3, 2, (4, 3), stride, padding, dilation)
    unpadded = LocallyConnected2d(2, 3, 2, (4 + 2 * padding, 3 + 2 * padding), stride, 0, dilation)
    maps = torch.ones(1, 2, 4 + 2 * padding, 3 + 2 * padding)
    outputs = [tuple(index.tolist()) for index in torch.ones(3, *local.out_size).nonzero()]
    assert index_sets(local, "in") == {acting_weights(unpadded, maps, output) for output in outputs}
    inputs = torch.eye(maps.numel()).view(-1, *maps.shape)
    assert index_sets(local, "out") == {acting_weights(unpadded, value) for value in inputs} - {frozenset()}


def test_a_table_convolution_knows_the_weights_of_each_output_and_each_input_map() -> None:
    layer = TableConvolution(3, [[0, 2], [1], [0, 1, 2], [2]], 2)
    maps = torch.ones(1, 3, 2, 2)
    assert index_sets(layer, "in") == {acting_weights(layer, maps, output) for output in range(4)}
    of_inputs = {acting_weights(layer, maps * torch.eye(3)[index, :, None, None]) for index in range(3)}
    assert index_sets(layer, "out") == of_inputs


@pytest.mark.parametrize(
    "layer", [LocallyConnected2d(3, 4, 3, (9, 8), padding=1), TableConvolution(6, TABLE, 5)]
)
def test_fans_are_the_mean_numbers_of_weights_and_norms_those_of_each_output(
    layer: LocallyConnected2d | TableConvolution,
) -> None:
    indices = layer.weight_indices("in")
    weights = layer.weight.flatten()[indices] * (indices != NO_WEIGHT)
    assert layer.fan_in() == pytest.approx(float((indices != NO_WEIGHT).sum(1).float().mean()))
    torch.testing.assert_close(layer.unit_norms().flatten(), weights.norm(dim=1))
    counts = (layer.weight_indices("out") != NO_WEIGHT).sum(1).float()
    if isinstance(layer, LocallyConnected2d):
        assert layer.fan_out() == counts.max()  # away from the borders
    else:
        assert layer.fan_out() == pytest.approx(float(counts.mean()))


@pytest.mark.parametrize(
    ("layer", "shape"),
    [(LocallyConnected2d(8, 16, 3, (9, 9)), (8, 9, 9)), (TableConvolution(6, TABLE, 5), (6, 30, 30))],
)
def test_outputs_of_new_layers_have_variance_one_and_no_bias(
    layer: nn.Module, shape: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    with torch.no_grad():
        outputs = layer(torch.randn(50, *shape))
    assert float(outputs.square().mean()) == pytest.approx(1, rel=0.2)
    assert not layer.get_parameter("bias").any()


def test_a_table_convolution_is_a_convolution_whose_other_weights_are_zero() -> None:
    torch.manual_seed(0)
    table = TableConvolution(6, TABLE, 5)
    nn.init.normal_(table.bias)
    dense = nn.Conv2d(6, 16, 5)
    assert dense.bias is not None
    nn.init.zeros_(dense.weight)
    with torch.no_grad():
        dense.bias.copy_(table.bias)
        for filters, row, column in zip(table.weight, table.rows, table.columns, strict=True):
            dense.weight[row, column] = filters
    maps = torch.randn(2, 6, 9, 8)
    torch.testing.assert_close(table(maps), dense(maps))
    assert set(table.state_dict()) == {"weight", "bias"}  # the table is part of the architecture


def test_the_connection_table_equals_the_papers() -> None:
    # Table I of the paper: for each map of S2, the maps of C3 connected to it.
    connections = [[row for row, inputs in enumerate(TABLE) if column in inputs] for column in range(6)]
    assert connections == [
        [0, 4, 5, 6, 9, 10, 11, 12, 14, 15],
        [0, 1, 5, 6, 7, 10, 11, 12, 13, 15],
        [0, 1, 2, 6, 7, 8, 11, 13, 14, 15],
        [1, 2, 3, 6, 7, 8, 9, 12, 14, 15],
        [2, 3, 4, 7, 8, 9, 10, 12, 13, 15],
        [3, 4, 5, 8, 9, 10, 11, 13, 14, 15],
    ]


def test_subsampling_scales_the_sum_of_each_window() -> None:
    subsampling = Subsampling(2)
    with torch.no_grad():
        subsampling.weight.copy_(torch.tensor([2.0, -1.0]))
        subsampling.bias.copy_(torch.tensor([0.5, 0.0]))
    maps = torch.arange(16.0).reshape(1, 1, 4, 4).expand(1, 2, 4, 4)
    sums = torch.tensor([[0 + 1 + 4 + 5, 2 + 3 + 6 + 7], [8 + 9 + 12 + 13, 10 + 11 + 14 + 15]])
    torch.testing.assert_close(subsampling(maps)[0], torch.stack([2 * sums + 0.5, -sums.float()]))


def test_scores_of_lenet5_are_minus_the_squared_distances_to_its_codes() -> None:
    output = DistanceToCodes(10)
    bitmaps = codes(10)
    assert set(bitmaps.flatten().tolist()) == {-1.0, 1.0}
    # The squared distance of two codes is 4 times the number of differing pixels.
    expected = -4 * (bitmaps[:, None] != bitmaps).sum(2).float()
    torch.testing.assert_close(output(bitmaps), expected)
    torch.testing.assert_close(output(bitmaps[:, :, None, None].expand(10, 84, 2, 3))[:, :, 1, 2], expected)


@pytest.mark.parametrize("classes", [7, 10, 100])
def test_codes_are_far_apart_and_deterministic(classes: int) -> None:
    bitmaps = codes(classes)
    assert bitmaps.shape == (classes, 84)
    differing = (bitmaps[:, None] != bitmaps).sum(2) + 84 * torch.eye(classes, dtype=torch.int64)
    # Bitmaps of digits are similar: a 3 and a 5, a 6 and an 8 differ least.
    assert differing.min() >= (8 if classes == 10 else 20)
    assert torch.equal(bitmaps, codes(classes))


def test_rejecting_softmax_equals_the_papers_criterion() -> None:
    distances = torch.tensor([[2.0, 5.0, 1.0], [90.0, 80.0, 70.0]])
    criterion = RejectingSoftmax(rejection=3.0).build(["a", "b", "c"], {}, 0.0)
    loss = criterion(-distances, torch.tensor([2, 0]))
    expected = [
        1 + math.log(math.exp(-3) + math.exp(-2) + math.exp(-5) + math.exp(-1)),
        90 + math.log(math.exp(-3) + math.exp(-90) + math.exp(-80) + math.exp(-70)),
    ]
    assert float(loss) == pytest.approx(sum(expected) / 2)


def test_maxout_is_the_maximum_of_two_linear_functions() -> None:
    values = torch.tensor([[1.0, 3.0, -2.0, -5.0]])
    assert Maxout()(values).tolist() == [[3.0, -2.0]]
    maps = torch.randn(2, 6, 3, 3)
    torch.testing.assert_close(Maxout()(maps)[:, 1], torch.maximum(maps[:, 2], maps[:, 3]))


def test_scaled_tanh_is_one_at_one_where_its_curvature_is_largest() -> None:
    squash = ScaledTanh()
    points = torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64)
    torch.testing.assert_close(squash(points), points, rtol=1e-4, atol=1e-12)
    step = 1e-3
    around = torch.arange(0.5, 1.5, step, dtype=torch.float64)
    curvature = squash(around).diff().diff() / step**2
    assert float(around[curvature.abs().argmax() + 1]) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("ceil_mode", [False, True])
def test_l2_pooling_is_the_norm_of_each_window_and_its_gradient_at_zero_is_zero(ceil_mode: bool) -> None:
    maps = torch.rand(2, 3, 7, 8) + 0.1
    expected = F.lp_pool2d(maps, 2.0, 3, 2, ceil_mode=ceil_mode)
    if not ceil_mode:  # torch scales windows that reach beyond the end
        torch.testing.assert_close(L2Pool2d(3, 2)(maps), expected)
    assert L2Pool2d(3, 2, ceil_mode=ceil_mode)(maps).shape == expected.shape
    zeros = torch.zeros(1, 1, 4, 4, requires_grad=True)
    L2Pool2d(2, 2)(zeros).sum().backward()
    assert zeros.grad is not None
    assert torch.equal(zeros.grad, torch.zeros(1, 1, 4, 4))


def test_l2_pooling_with_padding_is_the_norm_of_windows_padded_with_zeros() -> None:
    maps = torch.rand(2, 3, 6, 8, dtype=torch.float64)
    windows = F.unfold(maps.view(6, 1, 6, 8), 3, padding=1, stride=2).view(2, 3, 9, 3, 4)
    torch.testing.assert_close(L2Pool2d(3, 2, 1)(maps), windows.norm(dim=2))


def test_response_norm_multiplies_alpha_by_the_sum_of_five_squares() -> None:
    maps = 30 * torch.rand(2, 8, 3, 3, dtype=torch.float64)
    squares = F.pad(maps.square(), (0, 0, 0, 0, 2, 2))
    sums = torch.stack([squares[:, channel : channel + 5].sum(1) for channel in range(8)], 1)
    torch.testing.assert_close(shared_layers.response_norm()(maps), maps / (2 + 1e-4 * sums) ** 0.75)
    assert torch.autograd.gradcheck(shared_layers.response_norm(), maps.requires_grad_())
    torch_norm = nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)
    torch.testing.assert_close(shared_layers.response_norm()(maps), torch_norm(maps))
    half = maps.detach().bfloat16()
    torch.testing.assert_close(
        shared_layers.response_norm()(half).double(), torch_norm(half.double()), rtol=1e-2, atol=0
    )


@pytest.mark.parametrize("size", [1, 2, 4, 5])
def test_response_norm_of_any_number_of_channels_equals_torchs(size: int) -> None:
    torch.manual_seed(0)
    maps = 3 * torch.randn(2, 6, 3, 4)
    ours = shared_layers.ResponseNorm(size, alpha=0.3, beta=0.75, k=1.5)
    torch.testing.assert_close(ours(maps), nn.LocalResponseNorm(size, 0.3, 0.75, 1.5)(maps))


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("relu", F.relu),
        ("tanh", torch.tanh),
        ("sigmoid", torch.sigmoid),
        ("leaky_relu", F.leaky_relu),
        ("elu", F.elu),
        ("gelu", lambda values: values * torch.special.ndtr(values)),
        ("silu", lambda values: values * torch.sigmoid(values)),
        ("scaled_tanh", lambda values: 1.7159 * torch.tanh(2 * values / 3)),
        ("maxout", lambda values: values.unfold(1, 2, 2).amax(-1)),
    ],
)
def test_activations_equal_torchs_functions(name: str, reference: Callable[[Tensor], Tensor]) -> None:
    torch.manual_seed(0)
    values = torch.randn(5, 6)
    expected = reference(values)
    outputs = shared_layers.activation(name)(values)
    torch.testing.assert_close(outputs, expected)
    assert shared_layers.preactivations(outputs.shape[1], name) == 6
    # Where the backward pass needs only the output, the input is overwritten.
    assert (outputs.data_ptr() == values.data_ptr()) == (name in ("relu", "leaky_relu", "elu"))


@pytest.mark.parametrize("arguments", [{}, {"kernel_size": 3}, {"stride": 1, "padding": 1}])
@pytest.mark.parametrize("ceil_mode", [None, True])
def test_pooling_is_that_of_torch_by_default_2x2_with_stride_2(
    arguments: dict[str, Any], ceil_mode: bool | None
) -> None:
    maps = torch.rand(2, 3, 7, 8)
    chosen = arguments if ceil_mode is None else arguments | {"ceil_mode": ceil_mode}
    expected: dict[str, Any] = {"kernel_size": 2, "stride": 2, "padding": 0, "ceil_mode": False} | chosen
    for name, operation in (("max", F.max_pool2d), ("average", F.avg_pool2d)):
        torch.testing.assert_close(shared_layers.pooling(name, **chosen)(maps), operation(maps, **expected))
    norms = 4 * F.avg_pool2d(maps.square(), **expected, divisor_override=4)
    if chosen.get("kernel_size", 2) == 2:
        torch.testing.assert_close(shared_layers.pooling("l2", **chosen)(maps), norms.sqrt())


def test_dropout_scales_what_it_keeps_and_is_an_identity_at_rate_0() -> None:
    torch.manual_seed(0)
    values = shared_layers.dropout(0.25)(torch.ones(100_000))
    torch.testing.assert_close(values.unique(), torch.tensor([0, 4 / 3]))
    assert float((values == 0).float().mean()) == pytest.approx(0.25, abs=0.01)
    assert isinstance(shared_layers.dropout(0.0), nn.Identity)


@pytest.mark.parametrize("activation_name", ["relu", "maxout"])
@pytest.mark.parametrize("sizes", [[], [5], [5, 4, 3]])
def test_hidden_layers_are_linear_layers_activations_and_dropout(
    activation_name: str, sizes: list[int]
) -> None:
    torch.manual_seed(0)
    layers = shared_layers.hidden_layers(7, sizes, activation_name, 0.5)
    values = expected = torch.randn(4, 7)
    for linear in (layer for layer in layers if isinstance(layer, nn.Linear)):
        expected = F.linear(expected, linear.weight, linear.bias)
        expected = expected.relu() if activation_name == "relu" else expected.unfold(1, 2, 2).amax(-1)
    assert [type(layer) for layer in layers[2::3]] == [nn.Dropout] * len(sizes)
    outputs = layers.eval()(values)
    assert outputs.shape == (4, (sizes or [7])[-1])
    torch.testing.assert_close(outputs, expected)


def test_an_average_head_computes_scores_from_the_mean_of_each_map() -> None:
    torch.manual_seed(0)
    head = shared_layers.average_head(5, 3, 0.5)
    maps = torch.randn(2, 5, 4, 6)
    expected = F.linear(maps.mean((2, 3)), head.output.weight, head.output.bias)
    torch.testing.assert_close(head.eval()(maps), expected)
    assert head.dropout.p == 0.5


@pytest.mark.parametrize("kernel_size", [1, 3, 7])
@pytest.mark.parametrize("stride", [None, 2])
def test_a_convolution_before_a_norm_keeps_the_map_size_and_has_no_bias(
    kernel_size: int, stride: int | None
) -> None:
    layer = shared_layers.convolution(2, 4, kernel_size, *([] if stride is None else [stride]))
    assert layer(torch.zeros(1, 2, 9, 11)).shape[2:] == ((9, 11) if stride is None else (5, 6))
    assert layer.bias is None


def test_a_unit_puts_batch_norm_before_and_response_norm_after_its_activation() -> None:
    kinds = {
        name: [type(part).__name__ for part in ConvUnit(3, 4, 3, normalization=name)]
        for name in ("none", "batch", "lrn")
    }
    assert kinds == {
        "none": ["Conv2d", "ReLU"],
        "batch": ["Conv2d", "BatchNorm2d", "ReLU"],
        "lrn": ["Conv2d", "ReLU", "ResponseNorm"],
    }


@pytest.mark.parametrize("kernel_size", [(1, 7), (7, 1), (3, 3), (5, 5)])
@pytest.mark.parametrize("dilation", [1, 2])
def test_a_unit_keeps_the_size_of_its_map(kernel_size: tuple[int, int], dilation: int) -> None:
    unit = ConvUnit(3, 4, kernel_size, dilation=dilation, activation_name="maxout")
    assert unit(torch.randn(2, 3, 15, 17)).shape == (2, 4, 15, 17)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, nn.Conv2d(4, 6, 3, 1, 1)),
        ({"stride": 2, "groups": 2, "normalization": "lrn"}, nn.Conv2d(4, 6, 3, 2, 1, groups=2)),
        ({"padding": 0, "normalization": "batch"}, nn.Conv2d(4, 6, 3, bias=False)),
        ({"padding": (0, 2), "dilation": 2, "bias": False}, nn.Conv2d(4, 6, 3, 1, (0, 2), 2, bias=False)),
        ({"normalization": "batch", "bias": True}, nn.Conv2d(4, 6, 3, 1, 1)),
    ],
)
def test_a_units_convolution_is_torchs_with_a_bias_unless_batch_norm_follows(
    options: dict[str, Any], expected: nn.Conv2d
) -> None:
    convolution = ConvUnit(4, 6, 3, **options)[0]
    expected.load_state_dict(convolution.state_dict())
    maps = torch.randn(2, 4, 9, 8)
    torch.testing.assert_close(convolution(maps), expected(maps))


@pytest.mark.parametrize("eps", [None, 0.1])
def test_a_units_batch_norm_divides_by_the_root_of_variance_and_epsilon(eps: float | None) -> None:
    unit = ConvUnit(1, 1, 1, normalization="batch", **({} if eps is None else {"eps": eps})).double()
    nn.init.ones_(unit.get_parameter("conv.weight"))
    maps = torch.tensor([-0.01, 0.01], dtype=torch.float64).view(2, 1, 1, 1)
    expected = 0.01 / math.sqrt(1e-4 + (eps or 1e-5))
    assert float(unit(maps).detach().max()) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_shortcut_a_takes_every_stride_th_position_and_adds_channels_of_zeros(stride: int) -> None:
    maps = torch.rand(2, 3, 7, 8)
    outputs = shared_layers.ZeroPadShortcut(3, 5, stride)(maps)
    torch.testing.assert_close(outputs[:, :3], F.max_pool2d(maps, 1, stride))
    assert outputs.shape[1] == 5
    assert not outputs[:, 3:].any()


@pytest.mark.parametrize(
    ("option", "same_shape", "kind"),
    [
        ("none", True, type(None)),
        ("none", False, type(None)),
        ("A", True, nn.Identity),
        ("A", False, shared_layers.ZeroPadShortcut),
        ("B", True, nn.Identity),
        ("B", False, nn.Sequential),
        ("C", True, nn.Sequential),
        ("C", False, nn.Sequential),
    ],
)
def test_shortcuts_are_those_of_the_papers_options(option: str, same_shape: bool, kind: Any) -> None:
    for channels, stride in [(4, 1)] if same_shape else [(4, 2), (6, 1), (6, 2)]:
        layer: Any = shared_layers.shortcut(option, 4, channels, stride)
        assert type(layer) is kind
        if layer is not None:
            side = 8 // stride
            assert layer(torch.rand(2, 4, 8, 8)).shape == (2, channels, side, side)
        if isinstance(layer, nn.Sequential):
            assert [type(part) for part in layer] == [nn.Conv2d, nn.BatchNorm2d]
            assert sum(weight.numel() for weight in layer.parameters()) == 4 * channels + 2 * channels


def test_scaled_counts_are_the_nearest_even_numbers_of_at_least_two() -> None:
    for units in range(1, 40):
        for width in (0.05, 0.125, 0.25, 0.5, 1.0, 1.7, 2.0):
            count = shared_layers.scaled(units, width)
            nearest = min(range(2, 82, 2), key=lambda even: (abs(even - units * width), -even))
            assert count == nearest


@pytest.mark.parametrize("width", [0.05, 0.125, 0.3, 1.0, 1.7])
def test_scaled_counts_are_even_and_unchanged_at_width_one(width: float) -> None:
    for units in (16, 24, 48, 96, 384):
        count = shared_layers.scaled(units, width)
        assert count % 2 == 0
        assert count == pytest.approx(units * width, abs=1) or count == 2
        assert width != 1 or count == units


def test_window_arithmetic_equals_torch() -> None:
    for kernel_size in (1, 2, 3, 5):
        for stride in (1, 2, 3):
            for padding in range(kernel_size // 2 + 1):
                for dilation in (1, 2):
                    window = Window(kernel_size, stride, padding, dilation)
                    layer = nn.Conv2d(1, 1, kernel_size, stride, padding, dilation, device="meta")
                    for size in range(window.effective_size, 17):
                        shape = layer(torch.empty(1, 1, size, size, device="meta")).shape
                        assert window.output(size) == shape[-1]


def test_min_input_is_the_smallest_size_with_an_output() -> None:
    chain = [Window(7, 2, 1), Window(3, 2, 1), Window(5, 2), Window(3, 2, 1), Window(3, 1, 1), Window(3, 2)]
    smallest = min_input(chain)
    assert output_size(chain, smallest) == 1
    sizes = [smallest - 1]
    for window in chain:
        sizes.append(window.output(sizes[-1]))
    assert min(sizes) < 1


SETTINGS = [
    ConvNet(activation="maxout", hidden=[9]),
    ConvNet(normalization="lrn", pooling="l2", pooling_size=3),
    ConvNet(normalization="none", pooling="stride", activation="scaled_tanh"),
    ConvNet(padding="valid", kernel_size=2, dilation=2),
    ConvNet(locally_connected=3, pooling="average"),
    ConvNet(locally_connected=4, pooling="stride", normalization="lrn", activation="maxout"),
]


@pytest.mark.parametrize("settings", SETTINGS, ids=repr)
def test_every_option_of_convnet_has_finite_gradients_at_its_smallest_size_and_above(
    settings: ConvNet,
) -> None:
    smallest = settings.min_size((8, 8))
    for side in (smallest, smallest + 4):
        torch.manual_seed(0)
        network = settings.build(2, 3, (side, side + 1), 0.1)
        images = torch.randn(6, 2, side, side + 1)
        F.cross_entropy(network(images), torch.arange(6) % 3).backward()
        for name, weight in network.named_parameters():
            assert weight.grad is not None, name
            assert weight.grad.isfinite().all(), name


def test_locally_connected_layers_are_the_last_convolutions() -> None:
    network = ConvNet(locally_connected=1).build(1, 10, (8, 8), None)
    kinds = [
        type(module).__name__
        for module in network.modules()
        if isinstance(module, nn.Conv2d | LocallyConnected2d)
    ]
    assert kinds == ["Conv2d", "Conv2d", "Conv2d", "LocallyConnected2d"]
    assert ConvNet(locally_connected=5).problems() == [
        "model.locally_connected=5: there are 4 convolutions; write at most 4"
    ]


def test_a_strided_convolution_in_place_of_pooling_halves_the_map() -> None:
    network = ConvNet(pooling="stride").build(1, 10, (8, 8), None)
    shapes: list[tuple[int, ...]] = []

    def record(_: nn.Module, __: object, maps: Tensor) -> None:
        shapes.append(tuple(maps.shape[2:]))

    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(record)
    network(torch.randn(2, 1, 8, 8))
    assert shapes == [(8, 8), (4, 4), (4, 4), (2, 2)]
