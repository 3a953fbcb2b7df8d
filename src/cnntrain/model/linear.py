"""The linear classifier and the multi-layer perceptron (N1).

Both flatten an image to a vector x and do not use which pixels are neighbours. The linear classifier has
one row of W per class, a template; scores = Wx + b measure the match with each. Hidden layers give curved
decision boundaries only through their nonlinearity: without it, W2·W1 is a single matrix.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from ..initialization.weights import initialize
from .classifier import Classifier
from .shared_layers import dropout, hidden_layers


class LinearClassifier(Classifier):
    """The linear classifier, scores = Wx + b: (N, in_channels, height, width) → (N, classes)."""

    def __init__(
        self, in_channels: int, classes: int, image_size: tuple[int, int], dropout_rate: float = 0.0
    ):
        super().__init__()
        self.features = nn.Identity()
        self.head = nn.Sequential(
            OrderedDict(
                flatten=nn.Flatten(),
                dropout=dropout(dropout_rate),
                output=nn.Linear(in_channels * image_size[0] * image_size[1], classes),
            )
        )
        initialize(self)


class Perceptron(Classifier):
    """An MLP, [FC → act → dropout]·K → FC: (N, in_channels, height, width) → (N, classes)."""

    def __init__(
        self,
        in_channels: int,
        classes: int,
        image_size: tuple[int, int],
        hidden: list[int],
        activation: str = "relu",
        dropout_rate: float = 0.0,
    ):
        super().__init__()
        inputs = in_channels * image_size[0] * image_size[1]
        self.features = nn.Identity()
        self.head = nn.Sequential(
            OrderedDict(
                flatten=nn.Flatten(),
                hidden=hidden_layers(inputs, hidden, activation, dropout_rate),
                dropout=dropout(0.0 if hidden else dropout_rate),
                output=nn.Linear(hidden[-1] if hidden else inputs, classes),
            )
        )
        initialize(self, activation)
