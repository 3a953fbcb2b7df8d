"""The pattern that most convolutional networks follow (L10).

    INPUT → [[CONV → act]·N → POOL?]·M → [FC → act]·K → FC

Convolutions share one small filter over all places, pooling trades places for channels, and the fully
connected layers at the end read what was found. M = K = 0 leaves INPUT → FC: the linear classifier.
Batch norm stands between convolution and activation and makes the convolution's bias pointless, so
there it has none.
"""

from __future__ import annotations

from torch import Tensor, nn

from . import initialization, layers


class ConvNet(nn.Module):
    """The pattern with M = len(channels), N = convs_per_block, K = len(hidden).

    (N, in_channels, height, width) → (N, classes). Filters have an odd side and padding that keeps the
    map's size; pooling ("max", "average" or "none") halves it, rounded down. Dropout follows each hidden
    layer, or stands before the last where there is none.
    """

    def __init__(
        self,
        in_channels: int,
        classes: int,
        image_size: tuple[int, int],
        channels: list[int],
        convs_per_block: int = 1,
        kernel_size: int = 3,
        pooling: str = "max",
        batch_norm: bool = True,
        hidden: list[int] | None = None,
        activation: str = "relu",
        dropout: float = 0.0,
    ):
        super().__init__()
        hidden = hidden or []
        height, width = image_size
        blocks: list[nn.Module] = []
        for filters in channels:
            block: list[nn.Module] = []
            for _ in range(convs_per_block):
                block.append(
                    nn.Conv2d(
                        in_channels, filters, kernel_size, padding=kernel_size // 2, bias=not batch_norm
                    )
                )
                if batch_norm:
                    block.append(nn.BatchNorm2d(filters))
                block.append(layers.activation(activation))
                in_channels = filters
            if pooling != "none":
                block.append(layers.pooling(pooling))
                height, width = height // 2, width // 2
            blocks.append(nn.Sequential(*block))
        self.blocks = nn.Sequential(*blocks)
        inputs = in_channels * height * width
        self.hidden = layers.hidden_layers(inputs, hidden, activation, dropout)
        self.dropout = layers.dropout(0.0 if hidden else dropout)
        self.output = nn.Linear(hidden[-1] if hidden else inputs, classes)
        initialization.own(self, activation)

    def forward(self, images: Tensor) -> Tensor:
        features = self.hidden(self.blocks(images).flatten(1))
        scores: Tensor = self.output(self.dropout(features))
        return scores
