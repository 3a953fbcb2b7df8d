"""Inception v2, also called BN-Inception (N8).

Ioffe, Szegedy: Batch normalization: accelerating deep network training by reducing internal covariate
shift, ICML 2015, figure 5.

GoogLeNet with three changes. Batch norm follows every convolution, and makes response norm, dropout and
auxiliary heads unnecessary. Two 3x3 convolutions replace one of 5x5: they have the same receptive field,
with 18·C² weights in place of 25·C². There is no pooling between the stages: the last block of a stage has
stride 2, in two convolutions and in a max pooling that keeps the channels.

    3a, 3b, 3c    256, 320, 576 channels       28x28, 3c → 14x14
    4a – 4e       576, 576, 608, 608, 1056     14x14, 4e → 7x7
    5a, 5b        1024, 1024                     7x7

The paper's figure states 576 channels after 4c and 4d and 1024 after 4e, but the filters it lists for
them sum to 608 and 1056. This implementation uses the listed filters, as those for Caffe, MXNet and
PyTorch do; the authors' own code has 96 filters after the poolings of 4c and 4d, and therefore the stated
channels. Its first convolution is depthwise separable (stated in the text of the paper); here it is a
regular one, as in the figure. Strided pooling is padded like the parallel convolutions, so that the sizes
of their outputs are equal for odd sides too.
"""

from __future__ import annotations

from functools import partial

from torch import nn

from ..initialization.weights import initialize
from .classifier import Classifier
from .inception_blocks import AVERAGE, HALVE, MAX, Builder, Conv, LayerSpec
from .shared_layers import average_head

# Filters of each block, as in figure 5: 1x1; 3x3 after its 1x1; two of 3x3 after their 1x1; and the
# pooling with the filters after it. A block with 0 filters of 1x1 has stride 2, and no filters after pooling.
BLOCKS = {
    "3a": (64, (64, 64), (64, 96), (AVERAGE, 32)),
    "3b": (64, (64, 96), (64, 96), (AVERAGE, 64)),
    "3c": (0, (128, 160), (64, 96), (MAX, 0)),
    "4a": (224, (64, 96), (96, 128), (AVERAGE, 128)),
    "4b": (192, (96, 128), (96, 128), (AVERAGE, 128)),
    "4c": (160, (128, 160), (128, 160), (AVERAGE, 128)),
    "4d": (96, (128, 192), (160, 192), (AVERAGE, 128)),
    "4e": (0, (128, 192), (192, 256), (MAX, 0)),
    "5a": (352, (192, 320), (160, 224), (AVERAGE, 128)),
    "5b": (352, (192, 320), (192, 224), (MAX, 128)),
}


class InceptionV2(Classifier):
    """Inception v2: (N, in_channels, height, width) → (N, classes); the small form has GoogLeNet's stem.

    `dropout` None means the paper's: no dropout, as batch norm has a regularizing effect.
    """

    def __init__(
        self,
        in_channels: int,
        classes: int,
        form: str = "imagenet",
        width: float = 1.0,
        dropout: float | None = None,
    ):
        super().__init__()
        self.features, channels = Builder(width, eps=1e-5).features(plan(form), in_channels)
        self.head = average_head(channels["inception5b"], classes, dropout or 0.0)
        initialize(self)


def plan(form: str) -> dict[str, LayerSpec]:
    """Return the layer specifications of Inception v2's features by name."""
    imagenet = form == "imagenet"
    specs: dict[str, LayerSpec] = {"conv1": Conv(64, 7, 2) if imagenet else Conv(64, 3)}
    if imagenet:
        specs["pool1"] = HALVE
    specs |= {"conv2_reduce": Conv(64), "conv2": Conv(192, 3), "pool2": HALVE}
    for name, (single, (reduce, three), (reduce_double, double), (pooling, projection)) in BLOCKS.items():
        stride = 1 if single else 2
        block: dict[str, tuple[LayerSpec, ...]] = {"1x1": (Conv(single),)} if single else {}
        block["3x3"] = (Conv(reduce), Conv(three, 3, stride))
        block["double3x3"] = (Conv(reduce_double), Conv(double, 3), Conv(double, 3, stride))
        block["pool"] = (pooling, Conv(projection)) if single else (partial(nn.MaxPool2d, 3, 2, 1),)
        specs[f"inception{name}"] = block
    return specs
