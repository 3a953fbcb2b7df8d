"""GoogLeNet and Inception v2 to v4: published counts and operations, torchvision's and timm's outputs."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision import models

from cnntrain.model.googlenet import AuxiliaryPool
from cnntrain.model.settings.base import Model
from cnntrain.model.settings.inception import GoogLeNet, InceptionV2, InceptionV3, InceptionV4

TORCHVISION = GoogLeNet(variant="torchvision")
ALL = [GoogLeNet(), TORCHVISION, InceptionV2(), InceptionV3(), InceptionV4()]


def on_meta(settings: Model, side: int, classes: int = 7, dropout: float | None = None) -> Any:
    with torch.device("meta"):
        return settings.build(3, classes, (side, side), dropout)


def parameters(module: nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())


def run(network: nn.Module, height: int, width: int) -> Any:
    return network(torch.empty(2, 3, height, width, device="meta"))


def maps_of(network: nn.Module, side: int) -> dict[str, tuple[int, ...]]:
    """Return (channels, height, width) after each block of the features."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name, block in network.get_submodule("features").named_children():
        block.register_forward_hook(lambda _, __, maps, key=name: shapes.update({key: tuple(maps.shape[1:])}))
    run(network, side, side)
    return shapes


def multiply_adds(network: nn.Module, side: int) -> dict[str, int]:
    """Return the multiplications for one image in convolutions and linear layers, by block."""
    counts: dict[str, int] = {}

    def count(layer: Any, output: Tensor, block: str) -> None:
        counts[block] = counts.get(block, 0) + output[0].numel() * layer.weight[0].numel()

    for name, layer in network.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            block = name.split(".")[1]
            layer.register_forward_hook(lambda layer, _, output, key=block: count(layer, output, key))
    network.eval()(torch.empty(1, 3, side, side, device="meta"))
    return counts


def with_random_norms(network: nn.Module) -> nn.Module:
    """Randomize weights and statistics of batch norms: the defaults would hide a misplaced one."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for values in (module.weight, module.running_var):
                nn.init.uniform_(values, 0.5, 1.5)
            for values in (module.bias, module.running_mean):
                nn.init.normal_(values, std=0.1)
    return network


def load_in_order(ours: nn.Module, values: list[Tensor]) -> None:
    """Load weights and statistics in their order; shapes must match."""
    names = list(ours.state_dict())
    ours.load_state_dict(dict(zip(names, values, strict=True)), assign=True)


def assert_close(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5 * float(theirs.abs().max()))


@pytest.mark.parametrize(
    ("settings", "side", "count"),
    [
        (GoogLeNet(auxiliary=False), 224, 6_998_552),
        (GoogLeNet(), 224, 13_378_280),
        (dataclasses.replace(TORCHVISION, auxiliary=False), 224, 6_624_904),
        (TORCHVISION, 224, 13_004_888),
        (InceptionV3(auxiliary=False), 299, 23_834_568),
        (InceptionV3(), 299, 27_161_264),
        (InceptionV4(), 299, 42_679_816),
    ],
    ids=repr,
)
def test_parameters_equal_the_published_counts(settings: Any, side: int, count: int) -> None:
    assert (settings.published.side, settings.published.classes) == (side, 1000)
    assert parameters(on_meta(settings, side, 1000)) == count


def test_inception_v2_has_the_parameters_of_the_caffe_model_without_its_biases() -> None:
    network = on_meta(InceptionV2(), 224, 1000)
    biases = sum(module.out_channels for module in network.modules() if isinstance(module, nn.Conv2d))
    # The Caffe model, ported to PyTorch as pretrainedmodels.bninception, has a bias before each norm.
    assert parameters(network) == 11_295_240 - 10_016
    assert biases == 10_016


def test_inception_v2_halves_the_map_in_3c_and_4e() -> None:
    maps = maps_of(on_meta(InceptionV2(), 224), 224)
    blocks = [shape for name, shape in maps.items() if name.startswith("inception")]
    # Figure 5 of the paper, except for the sums of 4c to 4e, which it gives as 576, 576 and 1024.
    channels = (256, 320, 576, 576, 576, 608, 608, 1056, 1024, 1024)
    sides = (28, 28, 14, 14, 14, 14, 14, 7, 7, 7)
    assert blocks == [(count, side, side) for count, side in zip(channels, sides, strict=True)]


def test_googlenet_has_the_maps_and_operations_of_the_papers_table() -> None:
    network = on_meta(GoogLeNet(), 224, 1000).eval()
    sides = {name: shape[1] for name, shape in maps_of(network, 224).items()}
    assert [sides[name] for name in ("conv1", "pool1", "pool2", "pool3", "pool4")] == [112, 56, 28, 14, 7]
    counts = multiply_adds(network, 224)
    counts["conv2"] += counts.pop("conv2_reduce")
    blocks = {name.removeprefix("inception"): count for name, count in counts.items()}
    # Table 1, in millions; its 34 for conv1 and 54 for 5a do not follow from its own filters.
    table = {"conv2": 360, "3a": 128, "3b": 304, "4a": 73, "4b": 88, "4c": 100, "4d": 119, "4e": 170}
    for name, millions in {**table, "5b": 71, "output": 1}.items():
        assert blocks[name] == pytest.approx(millions * 1e6, abs=1e6)
    assert sum(counts.values()) == 1_582_671_872


@pytest.mark.parametrize(
    ("settings", "side", "weights"),
    [
        (TORCHVISION, 224, models.GoogLeNet_Weights.IMAGENET1K_V1),
        (InceptionV3(), 299, models.Inception_V3_Weights.IMAGENET1K_V1),
    ],
    ids=["googlenet", "inception_v3"],
)
def test_multiply_adds_equal_torchvision(settings: Model, side: int, weights: Any) -> None:
    total = sum(multiply_adds(on_meta(settings, side, 1000), side).values())
    assert round(total / 1e9, 3) == weights.meta["_ops"]


def test_googlenet_has_torchvisions_outputs_including_the_auxiliary_heads() -> None:
    torch.manual_seed(0)
    theirs = with_random_norms(
        models.googlenet(num_classes=7, init_weights=False, aux_logits=True, dropout=0.0, dropout_aux=0.0)
    )
    ours = on_meta(TORCHVISION, 224, dropout=0.0)
    images = torch.randn(2, 3, 72, 90)
    load_in_order(ours, [value.clone() for value in theirs.state_dict().values()])
    with torch.no_grad():
        assert_close(ours.eval()(images), theirs.eval()(images))
        expected = theirs.train()(images)
        scores, after_4a, after_4d = ours.train()(images)
    assert_close(scores, expected.logits)
    assert_close(after_4a, expected.aux_logits1)
    assert_close(after_4d, expected.aux_logits2)


def test_inception_v3_has_torchvisions_outputs_including_the_auxiliary_head() -> None:
    torch.manual_seed(0)
    theirs = with_random_norms(models.inception_v3(num_classes=7, init_weights=False, dropout=0.0))
    ours = on_meta(InceptionV3(), 299, dropout=0.0)
    # torchvision's auxiliary head is between the blocks 6e and 7a, ours before the head.
    auxiliary = [value for name, value in theirs.state_dict().items() if name.startswith("AuxLogits")]
    others = [value for name, value in theirs.state_dict().items() if not name.startswith("AuxLogits")]
    values = [*others[:-2], *auxiliary, *others[-2:]]
    load_in_order(ours, [value.clone() for value in values])
    images = torch.randn(2, 3, 299, 299)
    with torch.no_grad():
        assert_close(ours.eval()(images[:, :, :107, :90]), theirs.eval()(images[:, :, :107, :90]))
        expected = theirs.train()(images)
        scores, after_6e = ours.train()(images)
    assert_close(scores, expected.logits)
    assert_close(after_6e, expected.aux_logits)


def test_inception_v4_has_timms_outputs() -> None:
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    theirs = with_random_norms(timm.create_model("inception_v4", num_classes=7)).eval()
    ours = on_meta(InceptionV4(), 299).eval()
    load_in_order(ours, list(theirs.state_dict().values()))
    images = torch.randn(1, 3, 91, 107)
    with torch.no_grad():
        assert_close(ours(images), theirs(images))


@pytest.mark.parametrize(("channels", "side", "pooled"), [(3, 14, 4), (2, 17, 5)])
def test_auxiliary_pooling_equals_the_papers_on_its_map_sizes_and_accepts_others(
    channels: int, side: int, pooled: int
) -> None:
    pool = AuxiliaryPool(pooled)
    maps = torch.randn(2, channels, side, side)
    torch.testing.assert_close(pool(maps), F.avg_pool2d(maps, 5, 3))
    for size in ((8, 8), (1, 3), (40, 21)):
        assert pool(torch.ones(2, channels, *size)).shape == (2, channels, pooled, pooled)


def test_auxiliary_heads_train_the_blocks_before_them_and_are_absent_in_evaluation() -> None:
    network: Any = GoogLeNet(width=0.0625).build(3, 5, (32, 32), 0.0)
    images = torch.randn(2, 3, 32, 32)
    scores, after_4a, after_4d = network(images)
    for output, last, beyond in ((after_4a, "4a", "4b"), (after_4d, "4d", "4e")):
        network.zero_grad()
        output.sum().backward(retain_graph=True)
        trained, untouched = (
            [weight.grad for weight in network.get_submodule(f"features.inception{name}").parameters()]
            for name in (last, beyond)
        )
        assert all(gradient is not None for gradient in trained)
        assert all(gradient is None for gradient in untouched)
    torch.testing.assert_close(network.eval()(images), scores)


@pytest.mark.parametrize("settings", ALL, ids=repr)
def test_small_form_has_maps_of_a_half_a_quarter_and_an_eighth(settings: Model) -> None:
    maps = maps_of(on_meta(settings.tiny(), 32), 32)
    blocks = [shape[1:] for name, shape in maps.items() if not name.startswith(("conv", "norm", "stem"))]
    assert list(dict.fromkeys(blocks)) == [(16, 16), (8, 8), (4, 4)]


@pytest.mark.parametrize("settings", ALL, ids=repr)
@pytest.mark.parametrize("form", ["small", "imagenet"])
def test_the_smallest_size_and_odd_sizes_are_accepted_in_training(settings: Any, form: str) -> None:
    settings = dataclasses.replace(settings.tiny(), form=form)
    side = settings.min_size((8, 8))
    network = on_meta(settings, side)
    for height, width in ((side, side), (side + 5, side + 12)):
        outputs = run(network, height, width)
        for output in outputs if isinstance(outputs, tuple) else (outputs,):
            assert output.shape == (2, 7)


@pytest.mark.parametrize(
    "settings",
    [
        GoogLeNet(form="small"),
        *(dataclasses.replace(each, form="imagenet") for each in ALL if not isinstance(each, InceptionV2)),
    ],
    ids=repr,
)
def test_one_pixel_below_the_smallest_size_is_too_small(settings: Model) -> None:
    side = settings.min_size((8, 8)) - 1
    with pytest.raises(RuntimeError, match=r"too small|can't be greater"):
        run(on_meta(settings, side), side, side)


@pytest.mark.parametrize(
    ("settings", "default_rates"),
    [
        (GoogLeNet(), [0.7, 0.7, 0.4]),
        (InceptionV2(), []),
        (InceptionV3(), [0.5]),
        (InceptionV4(), [0.2]),
    ],
    ids=repr,
)
def test_dropout_defaults_to_the_papers_rates(settings: Model, default_rates: list[float]) -> None:
    for dropout, expected in ((None, default_rates), (0.0, []), (0.3, [0.3] * max(1, len(default_rates)))):
        network = on_meta(settings.tiny(), 32, dropout=dropout)
        assert [module.p for module in network.modules() if isinstance(module, nn.Dropout)] == expected


@pytest.mark.parametrize("settings", [GoogLeNet(auxiliary=False), InceptionV3(auxiliary=False)], ids=repr)
def test_an_auxiliary_weight_without_auxiliary_heads_is_a_problem(settings: Any) -> None:
    assert settings.problems() == []
    weighted = dataclasses.replace(settings, auxiliary_weight=0.5)
    assert weighted.problems() == [
        "model.auxiliary_weight=0.5: there are no auxiliary heads; write model.auxiliary=true"
    ]
