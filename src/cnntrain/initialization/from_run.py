"""Starting from the weights of an earlier run: the same network, or a shallower one (N6, I6).

Simonyan and Zisserman began their deeper networks with the first four convolutions and the fully
connected layers of trained VGG-11; He et al. and others go on with a whole network on new data. Both are
the same rule here: a layer is taken where its name and the shapes of all its tensors agree, else it is new.

A new layer with random weights between two trained ones hides from the second what it was trained on. One
that hands its input on does not: after ReLU nothing is negative, so the identity passes through the next
ReLU, and the deeper network computes what the shallower one did (Chen, Goodfellow, Shlens: Net2Net, 2016).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..errors import ConfigError
from ..layer_names import is_named, join_names, layers_of, outermost_names, pattern_problems


@dataclass(frozen=True)
class SourceRun:
    """An earlier run to start from: its folder, its network's name, and the weights of its best epoch."""

    folder: str
    model: str
    weights: dict[str, Tensor]


def copy_layers(
    network: nn.Module, source: SourceRun, patterns: list[str], identity: bool = False
) -> list[str]:
    """Copy the layers that `patterns` name from an earlier run; return a line that says which.

    A layer is copied with bias and running statistics, or not at all. With `identity`, new layers whose
    output has the shape of their input become the identity. Raises ConfigError for a pattern that names no
    layer, or where no layer can be copied.
    """
    theirs = source.weights
    own = network.state_dict()
    layers, offered = layers_of(own), layers_of(theirs)
    problems = pattern_problems("initialization.layers", patterns, layers)
    if problems:
        raise ConfigError(problems)
    taken = [
        layer
        for layer, tensors in layers.items()
        if is_named(layer, patterns)
        and set(tensors) == set(offered.get(layer, []))
        and all(own[tensor].shape == theirs[tensor].shape for tensor in tensors)
    ]
    if not taken:
        here, there = type(network).__name__, source.model
        raise ConfigError(
            [
                f"initialization.run={source.folder}: no layer can be taken: none of {here} "
                f"({join_names(list(layers), 4)}) that initialization.layers names has the name and the "
                f"shapes of one of {there} ({join_names(list(offered), 4)})"
            ]
        )
    with torch.no_grad():
        for layer in taken:
            for tensor in layers[layer]:
                own[tensor].copy_(theirs[tensor])
    new = [layer for layer in layers if layer not in set(taken)]
    if not new:
        return [f"weights   from {source.folder}: taken every layer ({len(layers)})"]
    modules = dict(network.named_modules())
    identities = [layer for layer in new if identity and layer in modules and make_identity(modules[layer])]
    return [
        f"weights   from {source.folder}: taken {join_names(outermost_names(taken, layers))} "
        f"({len(taken)} of {len(layers)} layers); new {join_names(outermost_names(new, layers))}"
        + (f", {len(identities)} of them the identity" if identity else "")
    ]


@torch.no_grad()
def make_identity(layer: nn.Module) -> bool:
    """Make a layer the identity where its output has the shape of its input; return whether it has."""
    if isinstance(layer, nn.Conv2d):
        whole = layer.groups == 1 and set(layer.stride) == {1}
        padded = layer.padding == tuple(
            dilation * (side - 1) // 2
            for side, dilation in zip(layer.kernel_size, layer.dilation, strict=True)
        )
        odd = all(side % 2 for side in layer.kernel_size)
        if not (whole and padded and odd and layer.in_channels == layer.out_channels):
            return False
        nn.init.dirac_(layer.weight)
    elif isinstance(layer, nn.Linear) and layer.in_features == layer.out_features:
        nn.init.eye_(layer.weight)
    else:
        return False
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return True
