"""A first convolution that whitens image patches, and convolutions that begin as the identity (I7).

The covariance of all patches of the size of the first filters is taken without subtracting their mean, as
by Jordan 2024: the inputs are standardized, so the mean is small, and the axis along which it lies is
divided by the larger root.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import ConfigError

# Images of which patches are made at once.
CHUNK = 500


@dataclass(frozen=True)
class TimedBias:
    """The bias of a network's first layer, trained in the first `steps` of a run."""

    bias: Tensor
    steps: int

    def begin_step(self, step: int) -> None:
        """Freeze the bias for the step that follows `step` steps, if these were all of its own."""
        self.bias.requires_grad_(step < self.steps)


def first_convolution(network: nn.Module) -> nn.Conv2d:
    """Return the first convolution of a network; raises ConfigError where another layer is the first."""
    layer = next((m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)), None)
    if not isinstance(layer, nn.Conv2d) or layer.groups > 1:
        raise ConfigError(
            [
                "initialization=whitening: the network's first layer is no convolution; write "
                "initialization=default, or model=whitened_convnet"
            ]
        )
    return layer


def freeze_first_layer(network: nn.Module, with_bias: bool) -> None:
    """Freeze the filters of the first convolution, and its bias where that is not trained either."""
    layer = first_convolution(network)
    layer.weight.requires_grad_(False)
    if with_bias and layer.bias is not None:
        layer.bias.requires_grad_(False)


@torch.no_grad()
def make_identities(network: nn.Module) -> None:
    """Make the first filters of each convolution but the first, one for each input, the identity."""
    first = first_convolution(network)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d) and layer is not first and layer.groups == 1:
            nn.init.dirac_(layer.weight[: layer.in_channels])


@torch.no_grad()
def whiten_first_layer(network: nn.Module, inputs: Tensor, epsilon: float) -> list[str]:
    """Set the first filters to whitening directions and their negatives; return one line that says so.

    inputs: images (N, channels, H, W) as the network receives them. With fewer filters than twice the values
    of a patch, those of the largest variance are taken.
    """
    layer = first_convolution(network)
    directions = whitening_directions(inputs, layer, epsilon)
    count = min(layer.out_channels // 2, len(directions))
    chosen = directions[:count].view(count, *layer.weight.shape[1:]).to(layer.weight.dtype)
    layer.weight[: 2 * count] = torch.cat([chosen, -chosen])
    if layer.bias is not None:
        layer.bias.zero_()
    size = "x".join(str(side) for side in layer.kernel_size)
    return [
        f"whitening {2 * count} of {layer.out_channels} first filters: {count} of {len(directions)} axes of "
        f"{size} patches of {len(inputs)} training images"
    ]


def whitening_directions(inputs: Tensor, layer: nn.Conv2d, epsilon: float) -> Tensor:
    """Return the principal axes of the patches that a convolution sees, each divided by its deviation.

    Rows (D, D) of D = channels·F·F values, the axis of the largest mean square first, in float64.
    """
    side = layer.weight[0].numel()
    products, count = torch.zeros(side, side, dtype=torch.float64), 0
    for images in torch.split(inputs.float(), CHUNK):
        patches = F.unfold(images, layer.kernel_size, layer.dilation).transpose(1, 2).flatten(0, 1)
        products += patches.T @ patches
        count += len(patches)
    squares, axes = torch.linalg.eigh(products / count)
    directions: Tensor = axes / (squares.clamp(min=0) + epsilon).sqrt()
    return directions.T.flip(0)
