"""The table of layers: what each sees, holds and costs, against gradients and torch's own counts."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision import models

from cnntrain.costs.arithmetic import LayerCost, layer_table, size_notices
from cnntrain.errors import ConfigError
from cnntrain.model import layers


def last(network: nn.Module, channels: int, side: int) -> LayerCost:
    return layer_table(network, channels, (side, side))[-1]


class Branches(nn.Module):
    """A 1x1, two 3x3 and a pooling side by side, as in Inception."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Conv2d(1, 1, 1)
        self.two = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.Conv2d(1, 1, 3, padding=1))
        self.pool = nn.AvgPool2d(3, 1, 1)

    def forward(self, maps: Tensor) -> Tensor:
        return torch.cat([self.one(maps), self.two(maps), self.pool(maps)], 1)


class Residual(nn.Module):
    """A change added to every second pixel of the map itself."""

    def __init__(self) -> None:
        super().__init__()
        self.change = nn.Conv2d(1, 1, 5, 2, 2)
        self.shortcut = layers.ZeroPadShortcut(1, 1, 2)

    def forward(self, maps: Tensor) -> Tensor:
        return self.change(maps) + self.shortcut(maps)


class Excited(nn.Module):
    """Maps scaled by what all of the image says, as in squeeze and excitation."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, maps: Tensor) -> Tensor:
        maps = self.conv(maps)
        return maps * maps.mean((2, 3), keepdim=True)


class Tokens(nn.Module):
    """Places as rows of numbers, a 1x1 convolution written as a linear layer on them, and back."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3, 3)
        self.linear = nn.Linear(2, 2)

    def forward(self, maps: Tensor) -> Tensor:
        maps = self.conv(maps)
        rows = self.linear(maps.flatten(2).transpose(1, 2))
        return rows.transpose(1, 2).unflatten(2, tuple(maps.shape[2:]))


SIDE = 33
NETWORKS: dict[str, Any] = {
    "two 3x3": lambda: nn.Sequential(nn.Conv2d(1, 1, 3), nn.Conv2d(1, 1, 3)),
    "three 3x3": lambda: nn.Sequential(*[nn.Conv2d(1, 1, 3, padding=1) for _ in range(3)]),
    "dilation": lambda: nn.Sequential(nn.Conv2d(1, 1, 3), nn.Conv2d(1, 1, 3, dilation=2)),
    "strides": lambda: nn.Sequential(nn.Conv2d(1, 1, 5, 2, 1), nn.AvgPool2d(3, 2), nn.Conv2d(1, 1, 3)),
    "oblong": lambda: nn.Sequential(nn.Conv2d(1, 1, (1, 5), (1, 2)), nn.Conv2d(1, 1, (3, 1), padding=(1, 0))),
    "branches": Branches,
    "residual": lambda: nn.Sequential(Residual(), nn.Conv2d(1, 1, 3)),
    "excitation": Excited,
    "tokens": Tokens,
    "unit": lambda: layers.ConvUnit(1, 2, 3, dilation=2, activation_name="maxout"),
    "local": lambda: nn.Sequential(
        layers.LocallyConnected2d(1, 2, 3, (SIDE, SIDE), 2), layers.L2Pool2d(2, 2), nn.Conv2d(2, 1, 3)
    ),
    "response norm": lambda: nn.Sequential(nn.Conv2d(1, 6, 3), layers.response_norm(), nn.Conv2d(6, 1, 3)),
    "linear": lambda: nn.Sequential(nn.Conv2d(1, 1, 3), nn.Flatten(), nn.Linear((SIDE - 2) ** 2, 3)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_receptive_field_is_where_the_gradient_of_a_central_output_reaches(name: str) -> None:
    network = NETWORKS[name]().double()
    for weight in network.parameters():
        nn.init.uniform_(weight, 0.1, 1)  # positive, so that nothing cancels
    images = torch.rand(1, 1, SIDE, SIDE, dtype=torch.float64, requires_grad=True)
    outputs = network(images)
    centre = outputs
    if outputs.ndim == 4:
        centre = outputs[:, :, outputs.shape[2] // 2, outputs.shape[3] // 2]
    (gradient,) = torch.autograd.grad(centre.sum(), images)
    rows, columns = (gradient[0, 0].abs() > 1e-12).nonzero(as_tuple=True)
    field = tuple(int(places.max() - places.min()) + 1 for places in (rows, columns))

    if outputs.ndim == 4:
        # Joined branches have no row of their own; a 1x1 after them tells what they see.
        network = nn.Sequential(network, nn.Conv2d(outputs.shape[1], 1, 1).double())
    assert last(network, 1, SIDE).receptive_field == field


def test_pooling_in_the_tables_stride_moves_the_receptive_field_by_as_many_pixels() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 7, 2, 3), nn.MaxPool2d(3, 2, 1), nn.Conv2d(4, 4, 3, 2, 1))
    assert [row.stride for row in layer_table(network, 3, (64, 64))] == [(1, 1), (2, 2), (4, 4), (8, 8)]


def test_a_mean_over_the_map_sees_all_of_the_image_but_what_no_layer_saw() -> None:
    pooled = nn.Sequential(nn.Conv2d(1, 1, 3, 2), nn.AdaptiveAvgPool2d(1))
    assert last(pooled, 1, 9).receptive_field == (9, 9)
    assert last(pooled, 1, 10).receptive_field == (9, 9)  # (10 - 3)/2 is not whole


# One of each family; transformers too: attention, windows, class tokens.
ARCHITECTURES = [
    "alexnet",
    "convnext_tiny",
    "mobilenet_v3_small",
    "shufflenet_v2_x0_5",
    "squeezenet1_0",
    "swin_t",
    "vit_b_16",
]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_weights_and_multiply_adds_of_any_network_are_those_that_torch_counts(name: str) -> None:
    with torch.device("meta"):
        network = models.get_model(name)
    rows = layer_table(network, 3, (224, 224))
    assert sum(row.weights + row.biases for row in rows) == sum(p.numel() for p in network.parameters())
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.eval()(torch.zeros(1, 3, 224, 224, device="meta"))
    assert 2 * sum(row.multiply_adds for row in rows) == counter.get_total_flops()


def test_a_vision_transformer_sees_its_patches_first_and_then_the_whole_image() -> None:
    with torch.device("meta"):
        rows = layer_table(models.vit_b_16(), 3, (224, 224))
    assert rows[1].receptive_field == (16, 16)
    assert rows[-2].receptive_field == (224, 224)


def test_heads_that_only_training_runs_are_listed_and_marked() -> None:
    with torch.device("meta"):
        network = models.googlenet(init_weights=False)
    rows = layer_table(network, 3, (224, 224))
    marked = {row.name.partition(".")[0] for row in rows if row.training_only}
    assert marked == {"aux1", "aux2"}
    # Szegedy et al. 2015: "1.5 billion multiply-adds at inference time".
    assert round(sum(row.multiply_adds for row in rows if not row.training_only) / 1e9, 1) == 1.5


def test_weights_are_spelt_as_the_notes_spell_them() -> None:
    network = nn.Sequential(
        nn.Conv2d(4, 6, 3, groups=2, padding=1),
        layers.LocallyConnected2d(6, 5, 3, (8, 8)),
        nn.BatchNorm2d(5),
        nn.Flatten(),
        nn.Linear(6 * 6 * 5, 7),
        nn.Linear(7, 3),
    )
    rows = layer_table(network, 4, (8, 8))[1:]
    assert [row.product for row in rows] == ["(3·3·2)·6", "(6·6)·(3·3·6)·5", "5", "6·6·5·7", "7·3"]
    assert [row.weights for row in rows] == [108, 9720, 5, 1260, 21]
    assert [row.biases for row in rows] == [6, 180, 5, 7, 3]
    assert rows[0].kind == "conv 3x3, 2 groups"


def test_what_works_in_place_has_no_row_and_weights_used_twice_count_once() -> None:
    shared = nn.Linear(4, 4)
    network = nn.Sequential(nn.Flatten(), shared, nn.ReLU(), nn.Dropout(), shared, nn.Identity())
    rows = layer_table(network, 1, (2, 2))
    assert [(row.kind, row.weights, row.product) for row in rows[1:]] == [
        ("linear", 16, "2·2·1·4"),
        ("linear", 0, "shared"),
    ]


def test_the_network_and_the_random_numbers_stay_as_they_were() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout(), nn.Flatten())
    network[1].eval()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    torch.manual_seed(3)
    layer_table(network, 1, (5, 5))
    drawn = torch.rand(1)
    torch.manual_seed(3)
    assert torch.equal(drawn, torch.rand(1))
    assert [module.training for module in network] == [True, False, True, True]
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert not network[0]._forward_hooks


def test_what_depends_on_values_is_run_with_values() -> None:
    class Halving(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 2, 3)

        def forward(self, maps: Tensor) -> Tensor:
            return self.conv(maps) if maps.sum().item() == 0 else maps

    assert last(Halving(), 1, 5).weights == 18


def test_rows_that_no_window_sees_are_named_and_those_of_padding_told_apart() -> None:
    lost = nn.Sequential(nn.Conv2d(1, 1, 3, 3), nn.MaxPool2d(2))
    assert size_notices(layer_table(lost, 1, (14, 14))) == [
        "0: (14 - 3)/3 is not whole: the last 2 rows and 2 columns are not seen"
    ]
    only_padding = nn.Conv2d(1, 1, 7, 2, 3)
    (line,) = size_notices(layer_table(nn.Sequential(only_padding), 1, (224, 224)))
    assert line == "0: (224 - 7 + 2·3)/2 is not whole: only zeros of the padding are not seen"
    # A 1x1 of stride 2 leaves out every second row, whatever the size; ceil_mode leaves out none.
    whole = nn.Sequential(nn.Conv2d(1, 1, 1, 2), nn.MaxPool2d(2, ceil_mode=True))
    assert size_notices(layer_table(whole, 1, (14, 14))) == []


def test_large_filters_and_poolings_are_pointed_out_where_advice_helps() -> None:
    first = nn.Sequential(nn.Conv2d(3, 8, 11, 1, 5), nn.AvgPool2d(3, 2, 1, ceil_mode=True))
    assert size_notices(layer_table(first, 3, (32, 32))) == []
    later = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 7, padding=3), nn.MaxPool2d(5, 1))
    lines = size_notices(layer_table(later, 3, (32, 32)))
    assert [line.partition(":")[0] for line in lines] == ["1", "2"]
    assert "27·C²" in lines[0]


@pytest.mark.parametrize(("name", "least"), [("vgg11", 32), ("alexnet", 63)])
def test_images_that_shrink_to_nothing_are_refused_with_the_least_size(name: str, least: int) -> None:
    """torchvision states these sizes in its `min_size`."""
    with torch.device("meta"):
        network = models.get_model(name)
    assert models.get_model_weights(name).DEFAULT.meta["min_size"] == (least, least)
    with pytest.raises(ConfigError, match=f"from {least}x{least} on"):
        layer_table(network, 3, (20, 20))


def test_images_of_a_size_that_does_not_fit_name_the_layer() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(18, 2))
    with pytest.raises(ConfigError, match=r"2 \(linear\) does not take images of 9x9"):
        layer_table(network, 1, (9, 9))
