"""Stochastic depth."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from cnntrain.model.settings.resnet import CifarPreactResNet, CifarResNet
from cnntrain.regularization.stochastic_depth import skip_blocks


@pytest.mark.parametrize("settings", [CifarResNet(), CifarPreactResNet()])
def test_skipped_blocks_return_their_input_and_rates_rise_with_depth(
    settings: CifarResNet | CifarPreactResNet,
) -> None:
    assert settings.has_residual_blocks()
    network = settings.tiny().build(1, 3, (32, 32), None)
    blocks = [module for module in network.modules() if hasattr(module, "drop_path")]
    skip_blocks(network, 0.6)
    rates = [block.drop_path.p for block in blocks]
    assert rates == pytest.approx([0.6 * (i + 1) / len(blocks) for i in range(len(blocks))])
    images = torch.randn(2, 1, 32, 32)
    with torch.no_grad():
        before = network.eval()(images)
        for block in blocks:
            block.drop_path = nn.Identity()
        assert torch.equal(network(images), before)  # in evaluation nothing is skipped
        skip_blocks(network, 0.9)
        block = blocks[0].train()  # its shortcut is the identity
        block.drop_path.p = 1.0
        channels = next(layer.in_channels for layer in block.modules() if isinstance(layer, nn.Conv2d))
        maps = torch.rand(2, channels, 8, 8)
        assert torch.equal(block(maps), maps)
