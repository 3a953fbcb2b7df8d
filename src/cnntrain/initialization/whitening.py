"""A first convolution that whitens image patches, and convolutions that begin as the identity.

The covariance of all patches of the size of the first filters is taken without subtracting their mean, as
by Jordan 2024: the inputs are standardized, so the mean is small, and the axis along which it lies is
divided by the larger root.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import ConfigError

# Values of the patches that are made at once.
CHUNK = 20_000_000


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
        raise _not_first()
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
def whiten_first_layer(network: nn.Module, inputs: Iterable[Tensor], epsilon: float) -> list[str]:
    """Set the first filters to whitening directions and their negatives; return one line that says so.

    inputs: images (n, channels, H, W) as the network receives them, in chunks. With fewer filters than twice
    the values of a patch, those of the largest variance are taken. Raises ConfigError where the first
    convolution does not take images.
    """
    layer = first_convolution(network)
    directions, patches = whitening_directions(inputs, layer, epsilon)
    count = min(layer.out_channels // 2, len(directions))
    chosen = directions[:count].view(count, *layer.weight.shape[1:]).to(layer.weight.dtype)
    layer.weight[: 2 * count] = torch.cat([chosen, -chosen])
    if layer.bias is not None:
        layer.bias.zero_()
    size = "x".join(str(side) for side in layer.kernel_size)
    return [
        f"whitening {2 * count} of {layer.out_channels} first filters: {count} of {len(directions)} axes of "
        f"{patches} patches of {size}"
    ]


def whitening_directions(inputs: Iterable[Tensor], layer: nn.Conv2d, epsilon: float) -> tuple[Tensor, int]:
    """Return the principal axes of the patches that a convolution sees, each divided by its deviation.

    Rows (D, D) of D = channels·F·F values, the axis of the largest mean square first, in float64; and the
    number of patches, those that contain padding excepted.
    """
    values = layer.weight[0].numel()
    products, count = torch.zeros(values, values, dtype=torch.float64), 0
    for chunk in inputs:
        if chunk.shape[1] != layer.in_channels:
            raise _not_first()
        positions = chunk.shape[2] * chunk.shape[3] // (layer.stride[0] * layer.stride[-1])
        for images in torch.split(chunk.float(), max(1, CHUNK // (positions * values))):
            unfolded = F.unfold(images, layer.kernel_size, layer.dilation, stride=layer.stride)
            patches = unfolded.transpose(1, 2).flatten(0, 1)
            products += patches.T @ patches
            count += len(patches)
    squares, axes = torch.linalg.eigh(products / count)
    directions: Tensor = axes / (squares.clamp(min=0) + epsilon).sqrt()
    return directions.T.flip(0), count


def _not_first() -> ConfigError:
    return ConfigError(
        [
            "initialization=whitening: the network's first layer is no convolution of the image; write "
            "initialization=default, or model=whitened_convnet"
        ]
    )
