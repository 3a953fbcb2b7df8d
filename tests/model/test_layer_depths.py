"""Learning rates graded by depth: the layers of timm and torchvision, and of every network of our own."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import timm
import torch
from timm.optim import param_groups_layer_decay
from torch import nn
from torchvision import models

from cnntrain.model.layer_depths import layer_depths
from cnntrain.model.settings.external import TimmModel, TorchvisionModel

DECAY = 0.7


def factors(settings: Any, network: nn.Module) -> dict[str, float]:
    names = {weight: name for name, weight in network.named_parameters()}
    groups = settings.parameter_groups(network)
    return {names[weight]: factor for weights, factor in groups for weight in weights}


def factors_of_timm(network: nn.Module) -> dict[str, float]:
    names = {weight: name for name, weight in network.named_parameters()}
    groups = param_groups_layer_decay(network, layer_decay=DECAY)
    return {names[weight]: group["lr_scale"] for group in groups for weight in group["params"]}


@pytest.mark.parametrize("arch", ["test_resnet", "test_vit", "test_efficientnet"])
def test_factors_of_a_network_of_timm_equal_those_of_timm(arch: str) -> None:
    settings = TimmModel(arch=arch, layer_decay=DECAY)
    network = settings.build(3, 5, (160, 160), None)
    assert factors(settings, network) == pytest.approx(factors_of_timm(network))


def test_depths_of_torchvisions_resnet_equal_those_of_timms() -> None:
    with torch.device("meta"):
        ours, theirs = layer_depths(models.resnet18()), factors_of_timm(timm.create_model("resnet18"))
    assert {name: DECAY**depth for name, depth in ours.items()} == pytest.approx(theirs)


def test_each_encoder_block_of_a_transformer_is_a_layer() -> None:
    with torch.device("meta"):
        depths = layer_depths(models.vit_b_16())
    assert {depths[name] for name in ("class_token", "encoder.pos_embedding", "conv_proj.bias")} == {13}
    blocks = [depths[f"encoder.layers.encoder_layer_{block}.mlp.0.weight"] for block in range(12)]
    assert blocks == list(range(12, 0, -1))
    assert depths["heads.head.weight"] == 0


def test_depths_of_every_network_count_its_layers_from_the_head(tiny_network: Any) -> None:
    side = tiny_network.min_size((32, 32))
    with torch.device("meta"):
        network = tiny_network.build(3, 7, (side, side), None)
    depths = layer_depths(network)
    assert depths.keys() == {name for name, _ in network.named_parameters()}
    assert sorted(set(depths.values())) == list(range(max(depths.values()) + 1))
    in_order = [depths[name] for name, _ in network.named_parameters() if not name.startswith("auxiliary")]
    assert in_order == sorted(in_order, reverse=True)


def test_the_branches_of_an_inception_block_are_one_layer(choose: Any) -> None:
    with torch.device("meta"):
        network = dataclasses.replace(choose("model", "googlenet"), width=0.125).build(3, 7, (64, 64), None)
    depths = layer_depths(network)
    blocks = {name.split(".")[1]: depth for name, depth in depths.items() if name.startswith("features.")}
    assert [blocks[f"inception{block}"] for block in ("5b", "5a", "4e", "3a")] == [1, 2, 3, 9]
    assert {depth for name, depth in depths.items() if name.startswith("auxiliary.")} == {0}


def test_the_heads_own_factor_replaces_that_of_its_depth() -> None:
    settings = TorchvisionModel(arch="squeezenet1_1", layer_decay=0.5, head_lr=3)
    found = factors(settings, settings.build(3, 4, (64, 64), None))
    assert found["classifier.1.weight"] == 3
    assert found["features.12.squeeze.weight"] == 0.5
    assert found["features.0.weight"] == 0.5**9
