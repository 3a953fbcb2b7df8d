"""The layer table: weights, multiply-adds, strides and notices, against torch's counts."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision import models

from cnntrain.costs.layer_costs import LayerCost, layer_table, size_notices
from cnntrain.errors import ConfigError
from cnntrain.model import shared_layers


def last_row(network: nn.Module, channels: int, side: int) -> LayerCost:
    return layer_table(network, channels, (side, side))[-1]


class ConvolutionOfRolledRows(nn.Conv2d):
    """A convolution after rows were rolled: the receptive field is a window along columns alone."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.roll(1, 2))


def test_stride_of_a_row_is_the_product_of_all_strides_up_to_it() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 7, 2, 3), nn.MaxPool2d(3, 2, 1), nn.Conv2d(4, 4, 3, 2, 1))
    assert [row.stride for row in layer_table(network, 3, (64, 64))] == [(1, 1), (2, 2), (4, 4), (8, 8)]


class FrozenTrunk(nn.Sequential):
    """Layers that are run in inference mode, in which torch hands on composite operations whole."""

    def forward(self, input: Tensor) -> Tensor:
        with torch.inference_mode():
            return super().forward(input)


def test_layers_in_inference_mode_have_the_costs_of_others() -> None:
    def layers() -> list[nn.Module]:
        return [nn.Conv2d(3, 4, 5, 2, 2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(4 * 16, 3)]

    frozen, plain = (layer_table(kind(*layers()), 3, (16, 16)) for kind in (FrozenTrunk, nn.Sequential))
    assert [vars(row) for row in frozen] == [vars(row) for row in plain]
    assert plain[1].receptive_field == (5, 5)
    assert plain[1].multiply_adds > 0


def test_receptive_field_and_stride_of_a_row_are_along_height_and_width_and_none_where_unknown() -> None:
    oblong = nn.Sequential(nn.Conv2d(1, 1, (3, 5), (1, 2)), nn.Flatten(), nn.Linear(6 * 3, 2))
    rows = layer_table(oblong, 1, (8, 9))
    assert [(row.receptive_field, row.stride) for row in rows[1:]] == [((3, 5), (1, 2)), ((8, 9), None)]
    assert [row.shape for row in rows[1:]] == [(1, 6, 3), (2,)]
    for unknown in (nn.ConvTranspose2d(1, 1, 2, 2), ConvolutionOfRolledRows(1, 1, 3)):
        row = last_row(nn.Sequential(unknown), 1, 4)
        assert (row.receptive_field, row.stride) == (None, None)


# One of each family, including transformers (attention, windows, class tokens).
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
def test_weights_and_multiply_adds_equal_torchs_counts(name: str) -> None:
    with torch.device("meta"):
        network = models.get_model(name)
    rows = layer_table(network, 3, (224, 224))
    assert sum(row.weights + row.biases for row in rows) == sum(p.numel() for p in network.parameters())
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.eval()(torch.zeros(1, 3, 224, 224, device="meta"))
    assert 2 * sum(row.multiply_adds for row in rows) == counter.get_total_flops()


def test_receptive_field_of_a_vision_transformer_is_a_patch_and_later_the_whole_image() -> None:
    with torch.device("meta"):
        rows = layer_table(models.vit_b_16(), 3, (224, 224))
    assert rows[1].receptive_field == (16, 16)
    assert rows[-2].receptive_field == (224, 224)


def test_auxiliary_heads_are_listed_as_training_only() -> None:
    with torch.device("meta"):
        network = models.googlenet(init_weights=False)
    rows = layer_table(network, 3, (224, 224))
    marked = {row.name.partition(".")[0] for row in rows if row.training_only}
    assert marked == {"aux1", "aux2"}
    # Szegedy et al. 2015: "1.5 billion multiply-adds at inference time".
    assert round(sum(row.multiply_adds for row in rows if not row.training_only) / 1e9, 1) == 1.5


def test_products_of_weights_are_written_as_in_the_notes() -> None:
    network = nn.Sequential(
        nn.Conv2d(4, 6, 3, groups=2, padding=1),
        shared_layers.LocallyConnected2d(6, 5, 3, (8, 8)),
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


def test_elementwise_layers_have_no_row_and_shared_weights_count_once() -> None:
    shared = nn.Linear(4, 4)
    network = nn.Sequential(nn.Flatten(), shared, nn.ReLU(), nn.Dropout(), shared, nn.Identity())
    rows = layer_table(network, 1, (2, 2))
    assert [(row.kind, row.weights, row.product) for row in rows[1:]] == [
        ("linear", 16, "2·2·1·4"),
        ("linear", 0, "shared"),
    ]


def test_network_and_random_state_are_unchanged() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout(), nn.Flatten())
    network[1].eval()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    torch.manual_seed(3)
    layer_table(network, 1, (5, 5))
    random = torch.rand(1)
    torch.manual_seed(3)
    assert torch.equal(random, torch.rand(1))
    assert [module.training for module in network] == [True, False, True, True]
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert not network[0]._forward_hooks


def test_a_module_of_several_names_keeps_its_own_weights() -> None:
    block = nn.Linear(8, 8)
    network = nn.ModuleDict({"first": block, "blocks": nn.ModuleList([block, block])})
    network.forward = lambda images: network["blocks"][1](network["blocks"][0](images.flatten(1)))  # type: ignore
    before = dict(network.named_parameters())
    layer_table(network, 2, (2, 2))
    assert all(weight is before[name] for name, weight in network.named_parameters())


def test_forward_passes_that_depend_on_values_are_supported() -> None:
    class ValueDependent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 2, 3)

        def forward(self, maps: Tensor) -> Tensor:
            return self.conv(maps) if maps.sum().item() == 0 else maps

    assert last_row(ValueDependent(), 1, 5).weights == 18


def test_unseen_rows_are_reported_and_distinguished_from_unseen_padding() -> None:
    unseen = nn.Sequential(nn.Conv2d(1, 1, 3, 3), nn.MaxPool2d(2))
    assert size_notices(layer_table(unseen, 1, (14, 14))) == [
        "0: (14 - 3)/3 is not an integer: the last 2 rows and 2 columns are not covered by any window"
    ]
    only_padding = nn.Conv2d(1, 1, 7, 2, 3)
    (line,) = size_notices(layer_table(nn.Sequential(only_padding), 1, (224, 224)))
    assert line == "0: (224 - 7 + 2·3)/2 is not an integer: only zero padding is not covered by any window"
    # A 1x1 of stride 2 skips every second row at any size; ceil_mode skips none.
    whole = nn.Sequential(nn.Conv2d(1, 1, 1, 2), nn.MaxPool2d(2, ceil_mode=True))
    assert size_notices(layer_table(whole, 1, (14, 14))) == []


def test_large_filters_and_poolings_after_the_first_layer_give_notices() -> None:
    first = nn.Sequential(nn.Conv2d(3, 8, 11, 1, 5), nn.AvgPool2d(3, 2, 1, ceil_mode=True))
    assert size_notices(layer_table(first, 3, (32, 32))) == []
    later = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 7, padding=3), nn.MaxPool2d(5, 1))
    lines = size_notices(layer_table(later, 3, (32, 32)))
    assert [line.partition(":")[0] for line in lines] == ["1", "2"]
    assert "27·C²" in lines[0]


@pytest.mark.parametrize(("name", "side"), [("vgg11", 32), ("alexnet", 63)])
def test_images_that_are_too_small_are_refused_with_the_smallest_size(name: str, side: int) -> None:
    """torchvision states these sizes in its `min_size`."""
    with torch.device("meta"):
        network = models.get_model(name)
    assert models.get_model_weights(name).DEFAULT.meta["min_size"] == (side, side)
    with pytest.raises(ConfigError, match=f"smallest accepted size is {side}x{side}"):
        layer_table(network, 3, (20, 20))


def test_the_layer_that_does_not_fit_the_image_size_is_named() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(18, 2))
    with pytest.raises(ConfigError, match=r"2 \(linear\) does not accept images of 9x9"):
        layer_table(network, 1, (9, 9))
