"""ZFNet (N4).

Zeiler, Fergus: Visualizing and understanding convolutional networks, ECCV 2014.

The authors visualized AlexNet's layers, and found two problems. The 11x11 filters had learned very high
and very low frequencies with few in between, and stride 4 caused aliasing artifacts in the second layer.
The first layer is therefore 7x7 at stride 2, and the network is otherwise AlexNet without groups. For
images of 224x224:

    conv1   96 of 7x7, stride 2   110x110      pooling 3x3/2 → 55x55, response norm
    conv2  256 of 5x5, stride 2    26x26       pooling 3x3/2 → 13x13, response norm
    conv3  384   conv4 384   conv5 256, 3x3, 13x13              pooling 3x3/2 → 6x6
    fc6 4096   fc7 4096   output 1000

The wide form, the paper's best, has 512, 1024 and 512 filters in conv3 to conv5. The small form, for
images like CIFAR's, has stride 2 in the poolings only, 3x3 filters in conv1, and 1024 hidden units.
"""

from __future__ import annotations

from ..initialization.weights import initialize
from .alexnet import HIDDEN, five_convolutions, two_hidden_layers
from .classifier import Classifier
from .feature_map_sizes import Window, output_size
from .shared_layers import scaled


class ZFNet(Classifier):
    """ZFNet: (N, in_channels, height, width) → (N, classes)."""

    def __init__(
        self,
        in_channels: int,
        classes: int,
        image_size: tuple[int, int],
        filters: list[int],
        normalization: str = "lrn",
        activation: str = "relu",
        pooling: str = "max",
        form: str = "imagenet",
        width: float = 1.0,
        dropout: float = 0.5,
    ):
        super().__init__()
        if form == "imagenet":
            first, second, pooling_padding = Window(7, 2, 1), Window(5, 2, 0), 1
        else:
            first, second, pooling_padding = Window(3, 1, 1), Window(5, 1, 2), 0
        self.features, channels = five_convolutions(
            in_channels,
            [scaled(count, width) for count in filters],
            [first, second, *[Window(3, 1, 1)] * 3],
            groups=(1, 1, 1, 1, 1),
            normalization=normalization,
            activation=activation,
            pooling=pooling,
            pooling_padding=pooling_padding,
            pooling_first=True,
        )
        pool = Window(3, 2, pooling_padding)
        map_height, map_width = (
            output_size([first, pool, second, pool, Window(3, 2)], side) for side in image_size
        )
        hidden = scaled(HIDDEN[form], width)
        self.head = two_hidden_layers(channels * map_height * map_width, hidden, classes, activation, dropout)
        initialize(self, activation)
