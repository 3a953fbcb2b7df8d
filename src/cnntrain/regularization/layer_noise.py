"""Changes that regularization makes to a built network: the kind of its dropout, and stochastic depth."""

from __future__ import annotations

from torch import Tensor, nn

from ..errors import ConfigError


class PlainDropout(nn.Dropout):
    """Dropout in its original form: drops units in training, scales all units by 1 - p in evaluation.

    The expectation is the same in training and evaluation, as with inverted dropout (L7).
    """

    def forward(self, input: Tensor) -> Tensor:
        if self.training:
            return super().forward(input) * (1 - self.p)
        return input * (1 - self.p)


def use_plain_dropout(network: nn.Module) -> None:
    """Replace every dropout layer of a network with PlainDropout; raises ConfigError if it has none."""
    replaced = 0
    for module in list(network.modules()):
        for name, child in module.named_children():
            if type(child) is nn.Dropout:
                setattr(module, name, PlainDropout(child.p))
                replaced += 1
    if not replaced:
        raise ConfigError(
            ["regularization.dropout_kind=plain: the network has no dropout; add regularization.dropout=0.5"]
        )


def skip_blocks(network: nn.Module, last_rate: float) -> None:
    """Add stochastic depth: in training, skip residual block l of L at the rate last_rate·l/L (R8).

    The residual branch is dropped for each image separately, and divided by the survival rate otherwise
    (Huang et al. 2016, in the inverted form).
    """
    if not last_rate:
        return
    from torchvision.ops import StochasticDepth  # takes a second to import

    blocks = [module for module in network.modules() if hasattr(module, "drop_path")]
    assert blocks, "checked in the configuration: the network has residual blocks"
    for number, block in enumerate(blocks, 1):
        block.drop_path = StochasticDepth(last_rate * number / len(blocks), "row")
