"""Plain dropout and stochastic depth (L7, R8)."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from cnntrain.model.settings.resnet import CifarPreactResNet, CifarResNet
from cnntrain.regularization.layer_noise import PlainDropout, skip_blocks, use_plain_dropout


def test_plain_and_inverted_dropout_have_equal_expectations() -> None:
    torch.manual_seed(0)
    values, rate = torch.rand(5), 0.3
    for layer in (nn.Dropout(rate), PlainDropout(rate)):
        mean = torch.stack([layer(values) for _ in range(20000)]).mean(0)
        torch.testing.assert_close(mean, layer.eval()(values), rtol=0.03, atol=0.0)
    assert torch.equal(PlainDropout(rate).eval()(values), values * (1 - rate))


def test_plain_dropout_does_not_scale_in_training() -> None:
    torch.manual_seed(0)
    outputs = PlainDropout(0.5)(torch.ones(1000))
    assert set(outputs.tolist()) == {0.0, 1.0}
    assert outputs.mean().item() == pytest.approx(0.5, abs=0.05)


def test_every_dropout_layer_of_a_network_becomes_plain() -> None:
    net = nn.Sequential(nn.Dropout(0.2), nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.4)))
    use_plain_dropout(net)
    assert [layer.p for layer in net.modules() if isinstance(layer, PlainDropout)] == [0.2, 0.4]


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
