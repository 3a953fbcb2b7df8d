"""VGG and ResNet give what torchvision's give when they hold the same weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torchvision import models


def with_random_norms(network: nn.Module) -> nn.Module:
    """Draw the norms' weights and statistics: at their start they hide a norm in the wrong place."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for values in (module.weight, module.running_var):
                nn.init.uniform_(values, 0.5, 1.5)
            for values in (module.bias, module.running_mean):
                nn.init.normal_(values, std=0.1)
    return network


@pytest.mark.parametrize("name", ["vgg11", "vgg11_bn", "resnet18", "resnet50"])
def test_outputs_equal_torchvisions(name: str, choose: Any) -> None:
    torch.manual_seed(0)
    options: dict[str, Any] = {"init_weights": False} if name.startswith("vgg") else {}
    theirs = with_random_norms(models.get_model(name, num_classes=7, **options)).eval()
    with torch.device("meta"):
        ours = choose("model", name).build(3, 7, (128, 128), None).eval()
    ours.load_state_dict(theirs.state_dict(), assign=True)
    images = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        expected = theirs(images)
        torch.testing.assert_close(ours(images), expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("name", ["vgg19_bn", "resnet152"])
def test_state_dicts_have_torchvisions_names_and_shapes(name: str, choose: Any) -> None:
    with torch.device("meta"):
        theirs = models.get_model(name).state_dict()
        ours = choose("model", name).build(3, 1000, (224, 224), None).state_dict()
    assert {key: value.shape for key, value in ours.items()} == {
        key: value.shape for key, value in theirs.items()
    }
