"""Dropout in its original form, which scales in evaluation (L7)."""

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
