"""The pattern that most convolutional networks follow (L10).

    INPUT → [[CONV → act]·N → POOL?]·M → [FC → act]·K → FC

Convolutions share one small filter over all places, pooling trades places for channels, and the fully
connected layers at the end read what was found. M = K = 0 leaves INPUT → FC: the linear classifier.
Batch norm stands between convolution and activation and makes the convolution's bias pointless, so
there it has none.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from ..initialization.weights import initialize
from . import layers
from .classifier import Classifier
from .layers import ConvUnit, LocallyConnected2d, hidden_layers, widened
from .sizes import Window, convnet_windows


class ConvNet(Classifier):
    """The pattern with M = len(channels), N = convs_per_block, K = len(hidden).

    (N, in_channels, height, width) → (N, classes). Padding "same" keeps the map's size in convolutions of
    odd side; pooling ("max", "average", "l2") or a stride in the last convolution ("stride") halves it,
    rounded down. The last `locally_connected` convolutions share no weights. Dropout follows each
    hidden layer, or stands before the last where there is none.
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
        shared = convs_per_block * len(channels) - locally_connected
        sliding = convnet_windows(
            len(channels), convs_per_block, kernel_size, padding, dilation, pooling, pooling_size
        )
        for filters, in_block in zip(channels, sliding, strict=True):
            block: list[nn.Module] = []
            for window in in_block[:convs_per_block]:
                if shared > 0:
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
                shared -= 1
                in_channels = filters
                height, width = window.output(height), window.output(width)
            for window in in_block[convs_per_block:]:
                block.append(layers.pooling(pooling, window.kernel_size))
                height, width = window.output(height), window.output(width)
            blocks.append(nn.Sequential(*block))
        self.features = nn.Sequential(*blocks)
        inputs = in_channels * height * width
        self.head = nn.Sequential(
            OrderedDict(
                flatten=nn.Flatten(),
                hidden=hidden_layers(inputs, hidden, activation, dropout),
                dropout=layers.dropout(0.0 if hidden else dropout),
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
    """Return a unit whose convolution shares no weights; its bias stays, being one of each place too."""
    units = widened(channels, activation)
    parts: list[nn.Module] = [
        LocallyConnected2d(
            in_channels, units, window.kernel_size, map_size, window.stride, window.padding, window.dilation
        )
    ]
    if normalization == "batch":
        parts.append(nn.BatchNorm2d(units))
    parts.append(layers.activation(activation))
    if normalization == "lrn":
        parts.append(layers.response_norm())
    return nn.Sequential(*parts)
