"""Dropout in its original form."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from cnntrain.regularization.plain_dropout import PlainDropout, use_plain_dropout


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
