"""Settings of all batch norms of a network."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from cnntrain.errors import ConfigError
from cnntrain.model.settings.feedforward import ConvNet, Mlp


def test_running_statistics_take_the_given_share_of_a_batch_and_scales_stay() -> None:
    settings = ConvNet(channels=[2], convs_per_block=1, norm_momentum=0.25, norm_scale=False)
    network = settings.build(1, 2, (4, 4), None)
    settings.adapt_norms(network)
    (norm,) = (module for module in network.modules() if isinstance(module, nn.BatchNorm2d))
    inputs: list[torch.Tensor] = []
    norm.register_forward_pre_hook(lambda module, arguments: inputs.append(arguments[0].detach()))
    network(torch.randn(8, 1, 4, 4))
    torch.testing.assert_close(norm.running_mean, 0.25 * inputs[0].mean((0, 2, 3)))
    trained = {name for name, weight in norm.named_parameters() if weight.requires_grad}
    assert trained == {"bias"}


@pytest.mark.parametrize(
    ("settings", "named"),
    [(Mlp(norm_momentum=0.5), "norm_momentum=0.5"), (Mlp(norm_scale=False), "norm_scale=false")],
)
def test_a_network_without_batch_norm_is_refused(settings: Mlp, named: str) -> None:
    with pytest.raises(ConfigError, match=f"model.{named}: the network has no batch norm"):
        settings.adapt_norms(settings.build(1, 2, (4, 4), None))
