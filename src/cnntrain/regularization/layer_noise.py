"""What regularization changes inside a network that is built: the kind of its dropout, and skipped blocks."""

from __future__ import annotations

from torch import Tensor, nn

from ..errors import ConfigError


class PlainDropout(nn.Dropout):
    """Dropout as it was first: units are dropped in training, all are scaled by the share kept in evaluation.

    Its expectation is that of the inverted kind (L7).
    """

    def forward(self, input: Tensor) -> Tensor:
        if self.training:
            return super().forward(input) * (1 - self.p)
        return input * (1 - self.p)


def use_plain_dropout(network: nn.Module) -> None:
    """Make every dropout layer of a network the plain kind; raises ConfigError where it has none."""
    changed = 0
    for module in list(network.modules()):
        for name, child in module.named_children():
            if type(child) is nn.Dropout:
                setattr(module, name, PlainDropout(child.p))
                changed += 1
    if not changed:
        raise ConfigError(
            ["regularization.dropout_kind=plain: the network has no dropout; add regularization.dropout=0.5"]
        )


def skip_blocks(network: nn.Module, last_rate: float) -> None:
    """Let residual blocks be skipped at random in training: block l of L at the rate last_rate·l/L (R8).

    What a block adds is left out for each image by itself, and scaled by the share kept elsewhere
    (Huang et al. 2016, in the inverted form).
    """
    if not last_rate:
        return
    from torchvision.ops import StochasticDepth  # takes a second to import

    blocks = [module for module in network.modules() if hasattr(module, "drop_path")]
    assert blocks, "checked in the configuration: the network has residual blocks"
    for number, block in enumerate(blocks, 1):
        block.drop_path = StochasticDepth(last_rate * number / len(blocks), "row")
