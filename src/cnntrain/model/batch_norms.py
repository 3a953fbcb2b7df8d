"""Settings of all batch norms of a network: their running statistics and their scales."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..errors import ConfigError


def adapt_norms(network: nn.Module, momentum: float | None, scale: bool) -> None:
    """Set the share of a batch in the running statistics, and freeze the scales unless `scale`.

    momentum None: unchanged. Raises ConfigError where a network without batch norm would be changed.
    """
    if momentum is None and scale:
        return
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    if not norms:
        setting = "norm_scale=false" if momentum is None else f"norm_momentum={momentum:g}"
        raise ConfigError([f"model.{setting}: the network has no batch norm; leave it out"])
    for norm in norms:
        if momentum is not None:
            norm.momentum = momentum
        if not scale and norm.affine:
            norm.weight.requires_grad_(False)
