"""What layers see in an image: their feature maps, and the image patches that excite a unit most (W5)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .activation_layers import watching
from .histograms import spread


@dataclass(frozen=True)
class Patch:
    """A window of an image: rows top to bottom and columns left to right, the last ones excluded."""

    image: int
    top: int
    left: int
    bottom: int
    right: int


@torch.no_grad()
def feature_maps(network: nn.Module, inputs: Tensor, most: int) -> dict[str, Tensor]:
    """Return the outputs (N, C, H, W) of up to `most` activation layers, evenly spread, by name.

    inputs (N, C, H, W): as the network gets them. The network is in evaluation mode. Layers whose output has
    no height and width, or one position only, are left out.
    """
    found: dict[str, Tensor] = {}

    def keep(name: str, module: nn.Module, output: Tensor) -> None:
        if output.ndim == 4 and output.shape[2] * output.shape[3] > 1:
            found[name] = output.float().clone()

    with watching(network, keep):
        network(inputs)
    return {name: found[name] for name in spread(list(found), most)}


def strongest_patches(
    network: nn.Module, inputs: Tensor, layer: str, units: list[int], count: int
) -> dict[int, list[Patch]]:
    """Return for each unit of a layer the patches of the `count` images in which its output is largest.

    A patch is where the derivative of that output by the input is not 0: the receptive field, as far as the
    rectifiers on the way let it through. inputs (N, C, H, W); the network is in evaluation mode. Images in
    which the unit is not above 0 are left out.
    """
    with torch.no_grad():
        maps = _output(network, inputs, layer)[:, units]
    values, positions = maps.flatten(2).max(2)  # (N, U)
    order = values.argsort(0, descending=True)[:count]  # (count, U)
    pairs = [(image, unit) for unit in range(len(units)) for image in order[:, unit].tolist()]
    pairs = [(image, unit) for image, unit in pairs if values[image, unit] > 0]
    if not pairs:
        return {unit: [] for unit in units}
    images, columns = (torch.tensor(part) for part in zip(*pairs, strict=True))
    with torch.enable_grad():
        leaf = inputs[images].clone().requires_grad_(True)
        output = _output(network, leaf, layer)[:, units].flatten(2)
        excitation = output[torch.arange(len(pairs)), columns, positions[images, columns]].sum()
        (gradient,) = torch.autograd.grad(excitation, leaf)
    patches: dict[int, list[Patch]] = {unit: [] for unit in units}
    for (image, column), own in zip(pairs, gradient.abs().sum(1), strict=True):
        rows, lines = own.sum(1).nonzero().flatten(), own.sum(0).nonzero().flatten()
        if len(rows):
            box = (int(rows[0]), int(lines[0]), int(rows[-1]) + 1, int(lines[-1]) + 1)
            patches[units[column]].append(Patch(image, *box))
    return patches


def _output(network: nn.Module, inputs: Tensor, layer: str) -> Tensor:
    """Return a layer's output, with its gradient function; `layer` as named by `watching`."""
    name, _, call = layer.partition(":")
    outputs: list[Tensor] = []
    handle = network.get_submodule(name).register_forward_hook(
        lambda module, inputs, output: outputs.append(output)
    )
    try:
        network(inputs)
    finally:
        handle.remove()
    return outputs[int(call or 1) - 1].float()
