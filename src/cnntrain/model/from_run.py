"""Starting from the weights of an earlier run: the same network, or a shallower one (N6, I6).

Simonyan and Zisserman began their deeper networks with the first four convolutions and the fully
connected layers of trained VGG-11; He et al. and others go on with a whole network on new data. Both are
the same rule here: a layer is taken where its name and the shapes of all its tensors agree, else it is new.

A new layer with random weights between two trained ones hides from the second what it was trained on. One
that hands its input on does not: after ReLU nothing is negative, so the identity passes through the next
ReLU, and the deeper network computes what the shallower one did (Chen, Goodfellow, Shlens: Net2Net, 2016).
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from ..config import stored
from ..errors import ConfigError
from ..run_folder import RunFolder
from .layer_names import gathered, is_named, layers_of, listed, pattern_problems


def take_layers(network: nn.Module, folder: Path, patterns: list[str], identity: bool = False) -> list[str]:
    """Copy the layers that `patterns` name from a run's best network; return a line that says which.

    A layer is taken whole, with bias and running statistics, or not at all. With `identity`, new layers
    that can hand their input on begin so. Raises DataError where the
    folder or its checkpoint cannot be used, ConfigError for a pattern without a layer or where none is taken.
    """
    source = stored.read(folder, "initialization.run")
    theirs = RunFolder(folder).checkpoints.load_best()["network"]
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
        here, there = type(network).__name__, source.model.name
        raise ConfigError(
            [
                f"initialization.run={folder}: no layer can be taken: none of {here} "
                f"({listed(list(layers), 4)}) that initialization.layers names has the name and the "
                f"shapes of one of {there} ({listed(list(offered), 4)})"
            ]
        )
    with torch.no_grad():
        for layer in taken:
            for tensor in layers[layer]:
                own[tensor].copy_(theirs[tensor])
    new = [layer for layer in layers if layer not in set(taken)]
    if not new:
        return [f"weights   from {folder}: taken every layer ({len(layers)})"]
    modules = dict(network.named_modules())
    handing_on = [layer for layer in new if identity and layer in modules and hand_on(modules[layer])]
    return [
        f"weights   from {folder}: taken {listed(gathered(taken, layers))} ({len(taken)} of {len(layers)} "
        f"layers); new {listed(gathered(new, layers))}"
        + (f", {len(handing_on)} of them the identity" if identity else "")
    ]


@torch.no_grad()
def hand_on(layer: nn.Module) -> bool:
    """Make a layer the identity, where its output has the shape of its input; return whether it has."""
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
