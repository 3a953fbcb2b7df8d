"""Initialization from the weights of an earlier run of the same network or a shallower one (N6, I6).

Simonyan and Zisserman initialized their deeper networks with the first four convolutions and the fully
connected layers of a trained VGG-11; He et al. and others fine-tune a whole network on new data. One rule
covers both: a layer is copied if its name and the shapes of all its tensors match, otherwise it is new.

A new layer with random weights between two trained ones changes the inputs that the second was trained on.
A layer initialized to the identity does not: outputs of a ReLU are not negative, so the next ReLU leaves
them unchanged, and the deeper network computes the same function as the shallower one (Chen, Goodfellow,
Shlens: Net2Net, 2016).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ..errors import ConfigError
from ..layer_names import is_named, join_names, layers_of, outermost_names, pattern_problems
from ..runs import file_names
from ..runs.checkpoint import read
from ..runs.checkpoint_schema import TrainedState
from ..settings.network_input import TrainedInput


@dataclass(frozen=True)
class SourceRun:
    """The run to initialize from: its folder, its network's name, and the weights of its best epoch."""

    folder: str
    model: str
    weights: dict[str, Tensor]


def copy_layers(
    network: nn.Module, source: SourceRun, patterns: list[str], identity: bool = False
) -> list[str]:
    """Copy the layers that match `patterns` from an earlier run; return one line that lists them.

    A layer is copied with bias and running statistics, or not at all. With `identity`, new layers whose
    output has the shape of their input become the identity. Raises ConfigError if a pattern matches no
    layer, or if no layer can be copied.
    """
    source_weights = source.weights
    state = network.state_dict()
    layers, source_layers = layers_of(state), layers_of(source_weights)
    problems = pattern_problems("initialization.layers", patterns, layers)
    if problems:
        raise ConfigError(problems)
    copied = [
        layer
        for layer, tensors in layers.items()
        if is_named(layer, patterns)
        and set(tensors) == set(source_layers.get(layer, []))
        and all(state[tensor].shape == source_weights[tensor].shape for tensor in tensors)
    ]
    if not copied:
        raise ConfigError(
            [
                f"initialization.run={source.folder}: no layer can be copied: no layer of "
                f"{type(network).__name__} ({join_names(list(layers), 4)}) that matches "
                f"initialization.layers has the name and the shapes of a layer of {source.model} "
                f"({join_names(list(source_layers), 4)})"
            ]
        )
    with torch.no_grad():
        for layer in copied:
            for tensor in layers[layer]:
                state[tensor].copy_(source_weights[tensor])
    new = [layer for layer in layers if layer not in set(copied)]
    if not new:
        return [f"weights   from {source.folder}: copied every layer ({len(layers)})"]
    modules = dict(network.named_modules())
    identities = [layer for layer in new if identity and layer in modules and make_identity(modules[layer])]
    return [
        f"weights   from {source.folder}: copied {join_names(outermost_names(copied, layers))} "
        f"({len(copied)} of {len(layers)} layers); new {join_names(outermost_names(new, layers))}"
        + (f", {len(identities)} of them the identity" if identity else "")
    ]


def trained_input(folder: str) -> TrainedInput | None:
    """Return size, mean and deviation of the images of the run in a folder.

    None where it has no best weights, or scales pixels by no mean and deviation of each channel.
    """
    file = Path(folder) / file_names.CHECKPOINTS / file_names.BEST
    if not file.is_file():
        return None
    state = read(file, TrainedState)
    scale, shift = (state["preprocess"].get(name) for name in ("scale", "shift"))
    if scale is None or shift is None:
        return None
    channels = [part.double().flatten(0, 2) for part in (scale, shift)]
    if not all(torch.equal(part, part[:1].expand_as(part)) for part in channels):
        return None
    scales, shifts = (part[0] for part in channels)
    height, width, _ = state["image_shape"]
    return TrainedInput((height, width), (-shifts / (255 * scales)).tolist(), (1 / (255 * scales)).tolist())


@torch.no_grad()
def make_identity(layer: nn.Module) -> bool:
    """Make a layer the identity if its output has the shape of its input; return whether that was done."""
    if isinstance(layer, nn.Conv2d):
        single_group_stride_1 = layer.groups == 1 and set(layer.stride) == {1}
        same_padding = layer.padding == tuple(
            dilation * (side - 1) // 2
            for side, dilation in zip(layer.kernel_size, layer.dilation, strict=True)
        )
        odd_kernel = all(side % 2 for side in layer.kernel_size)
        same_channels = layer.in_channels == layer.out_channels
        if not (single_group_stride_1 and same_padding and odd_kernel and same_channels):
            return False
        nn.init.dirac_(layer.weight)
    elif isinstance(layer, nn.Linear) and layer.in_features == layer.out_features:
        nn.init.eye_(layer.weight)
    else:
        return False
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return True
