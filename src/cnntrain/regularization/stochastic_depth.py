"""Stochastic depth: residual blocks are skipped at random in training (R8)."""

from __future__ import annotations

from torch import nn


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
