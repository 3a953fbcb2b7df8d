"""Layers that torch does not have, against loops, other operators and finite differences."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

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
