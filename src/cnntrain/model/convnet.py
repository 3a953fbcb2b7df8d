"""A configurable network of the pattern that most convolutional networks follow (L10).

    INPUT → [[CONV → act]·N → POOL?]·M → [FC → act]·K → FC

Convolutions apply the same small filters at all positions, pooling reduces the number of positions, and
the fully connected layers at the end compute the scores. M = K = 0 gives INPUT → FC: the linear
classifier. Batch norm is between convolution and activation; it cancels the convolution's bias, so a
convolution before batch norm has none.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from ..initialization.weights import initialize
from . import shared_layers
from .classifier import Classifier
from .feature_map_sizes import Window, convnet_windows
from .shared_layers import ConvUnit, LocallyConnected2d, hidden_layers, preactivations


class ConvNet(Classifier):
    """The pattern with M = len(channels), N = convs_per_block, K = len(hidden).

    (N, in_channels, height, width) → (N, classes). Padding "same" keeps the map's size if `kernel_size`
    is odd; pooling ("max", "average", "l2") or stride 2 in the block's last convolution ("stride") halves
    it, rounded down. The last `locally_connected` convolutions have no shared weights. Dropout follows
    each hidden layer, or precedes the output layer if there are no hidden layers.
    """

    def __init__(
        self,
        in_channels: int,
        classes: int,
        image_size: tuple[int, int],
        channels: list[int],
        convs_per_block: int = 1,
        kernel_size: int = 3,
        padding: str = "same",
        dilation: int = 1,
        locally_connected: int = 0,
        pooling: str = "max",
        pooling_size: int = 2,
        normalization: str = "batch",
        hidden: list[int] | None = None,
        activation: str = "relu",
        dropout: float = 0.0,
    ):
        super().__init__()
        hidden = hidden or []
        height, width = image_size
        blocks: list[nn.Module] = []
        shared_remaining = convs_per_block * len(channels) - locally_connected
        block_windows = convnet_windows(
            len(channels), convs_per_block, kernel_size, padding, dilation, pooling, pooling_size
        )
        for filters, windows in zip(channels, block_windows, strict=True):
            block: list[nn.Module] = []
            for window in windows[:convs_per_block]:
                if shared_remaining > 0:
                    unit: nn.Sequential = ConvUnit(
                        in_channels,
                        filters,
                        kernel_size,
                        window.stride,
                        window.padding,
                        dilation=dilation,
                        normalization=normalization,
                        activation_name=activation,
                    )
                else:
                    unit = _local_unit(
                        in_channels, filters, window, (height, width), normalization, activation
                    )
                block.append(unit)
                shared_remaining -= 1
                in_channels = filters
                height, width = window.output(height), window.output(width)
            for window in windows[convs_per_block:]:
                block.append(shared_layers.pooling(pooling, window.kernel_size))
                height, width = window.output(height), window.output(width)
            blocks.append(nn.Sequential(*block))
        self.features = nn.Sequential(*blocks)
        inputs = in_channels * height * width
        self.head = nn.Sequential(
            OrderedDict(
                flatten=nn.Flatten(),
                hidden=hidden_layers(inputs, hidden, activation, dropout),
                dropout=shared_layers.dropout(0.0 if hidden else dropout),
                output=nn.Linear(hidden[-1] if hidden else inputs, classes),
            )
        )
        initialize(self, activation)


def _local_unit(
    in_channels: int,
    channels: int,
    window: Window,
    map_size: tuple[int, int],
    normalization: str,
    activation: str,
) -> nn.Sequential:
    """Return a locally connected unit; it has a bias even before batch norm, one per channel and position."""
    units = preactivations(channels, activation)
    parts: list[nn.Module] = [
        LocallyConnected2d(
            in_channels, units, window.kernel_size, map_size, window.stride, window.padding, window.dilation
        )
    ]
    if normalization == "batch":
        parts.append(nn.BatchNorm2d(units))
    parts.append(shared_layers.activation(activation))
    if normalization == "lrn":
        parts.append(shared_layers.response_norm())
    return nn.Sequential(*parts)
