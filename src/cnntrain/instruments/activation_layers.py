"""The activations of a network: which modules compute them, and calls of the same module told apart."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ..model.shared_layers import AMPLITUDE, Maxout, ScaledTanh

# 0 for negative inputs: a unit that is 0 for all images is dead.
RECTIFIERS = (nn.ReLU, nn.ReLU6)
# Flat at both ends.
SATURATING = (nn.Tanh, nn.Sigmoid, ScaledTanh)
OTHERS = (nn.LeakyReLU, nn.PReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Hardswish, Maxout)
# The slope of tanh or sigmoid, as a fraction of its largest, below which an activation is saturated.
FLAT = 0.05

Watcher = Callable[[str, nn.Module, Tensor], None]


def activation_modules(network: nn.Module) -> dict[str, nn.Module]:
    """Return the modules of a network that compute activations, by name, in the order of definition."""
    kinds = RECTIFIERS + SATURATING + OTHERS
    return {name: module for name, module in network.named_modules() if isinstance(module, kinds)}


@contextmanager
def watching(network: nn.Module, watch: Watcher) -> Iterator[None]:
    """Call `watch` with name, module and output of every activation that the network computes inside.

    A module called several times in one forward pass has the names relu, relu:2, relu:3 and so on. The
    output is detached; `watch` must not change it.
    """
    calls: Counter[str] = Counter()
    handles = [network.register_forward_pre_hook(lambda module, inputs: calls.clear())]
    for name, module in activation_modules(network).items():

        def after(module: nn.Module, inputs: object, output: Tensor, name: str = name) -> None:
            calls[name] += 1
            watch(name if calls[name] == 1 else f"{name}:{calls[name]}", module, output.detach())

        handles.append(module.register_forward_hook(after))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def zero_units(output: Tensor) -> Tensor:
    """Return for each unit, (U,) bool, whether a rectifier's output is 0 at all positions of all images.

    output (N, U) or (N, U, H, W), nowhere negative: a unit is a feature, or a filter. Its sum is 0 only if
    all are, and a sum takes a tenth of the time of a comparison.
    """
    return output.sum([dim for dim in range(output.ndim) if dim != 1]) == 0


def in_memory_order(output: Tensor) -> Tensor:
    """Return all values of an output as one vector, without copying those of a channels-last map."""
    if output.ndim == 4 and output.is_contiguous(memory_format=torch.channels_last):
        output = output.permute(0, 2, 3, 1)
    return output.reshape(-1)


def saturated_fraction(module: nn.Module, output: Tensor) -> Tensor:
    """Return the fraction of activations at which tanh or sigmoid has less than FLAT of its largest slope.

    The slope is 1 - t², with t the output brought to the range of tanh, so that this is |t| beyond a bound.
    """
    distance = output.to(torch.float32, copy=True)
    if isinstance(module, nn.Sigmoid):
        distance.mul_(2).sub_(1)
    elif isinstance(module, ScaledTanh):
        distance.div_(AMPLITUDE)
    # 1 beyond the bound, else 0: to add and to round down takes a third of the time of a comparison.
    return distance.abs_().add_(1 - math.sqrt(1 - FLAT)).floor_().mean()
