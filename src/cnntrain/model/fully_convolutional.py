"""Dense evaluation: apply a network at all positions of larger images in one pass (L8, E5).

A fully connected layer on a feature map of h x w is equivalent to a convolution with an h x w filter, and
each later one to a 1x1 convolution. Rewritten in this form, a network accepts larger images and computes
scores for each position of a window of its own input size, at steps of its stride; computations that
overlapping windows have in common are done once. Where the network zero-pads its feature maps, a window
inside a larger image has its real surroundings in place of zeros, so its scores differ from those of the
separate crop; without padding they are equal.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ..errors import ConfigError
from .classifier import Classifier
from .lenet_original import DistanceToCodes
from .settings.base import ACTIVATIONS
from .shared_layers import ACTIVATIONS as ACTIVATION_MODULES
from .shared_layers import LocallyConnected2d

# Layers that act on each position separately, so that they apply to feature maps of any size.
POINTWISE = (
    nn.Identity,
    nn.Dropout,
    DistanceToCodes,
    *(type(ACTIVATION_MODULES[name]()) for name in ACTIVATIONS),
)
# Pixels added to an input's height to measure the stride, which must divide them: 2^6·3^2·5^2.
STRIDE_MULTIPLE = 14400


class SlidingNetwork(nn.Module):
    """A network whose scores are averaged over all positions of larger images: (N, C, H', W') → (N, classes).

    `stride` is the distance between positions in pixels; None means the network's own stride, a divisor of
    it is obtained by several passes over shifted images. Raises ConfigError if `stride` is no divisor, or
    for a network that fully_convolutional does not support.
    """

    def __init__(self, network: nn.Module, input_shape: tuple[int, int, int], stride: int | None = None):
        super().__init__()
        self.convolutional = fully_convolutional(network, input_shape)
        self.input_size = (input_shape[1], input_shape[2])
        self.own_stride = own_stride(network, input_shape)
        self.stride = stride or self.own_stride
        if self.own_stride % self.stride:
            divisors = [str(step) for step in range(1, self.own_stride + 1) if self.own_stride % step == 0]
            raise ConfigError(
                [
                    f"evaluate.dense_stride={self.stride}: must divide the network's own stride "
                    f"{self.own_stride}: {', '.join(divisors)}"
                ]
            )

    def forward(self, images: Tensor) -> Tensor:
        return self.score_map(images).mean((2, 3))

    def score_map(self, images: Tensor) -> Tensor:
        """Return the scores at all positions: (N, C, H', W') → (N, classes, rows, columns)."""
        passes = self.own_stride // self.stride
        height, width = images.shape[2:]
        if height < self.input_size[0] or width < self.input_size[1]:
            smallest = "x".join(str(side) for side in self.input_size)
            raise ConfigError(
                [f"evaluate.dense=true: images of {height}x{width} are smaller than {smallest}"]
            )
        rows = (height - self.input_size[0]) // self.stride + 1
        columns = (width - self.input_size[1]) // self.stride + 1
        scores: Tensor | None = None
        for row in range(min(passes, rows)):
            for column in range(min(passes, columns)):
                shifted = images[:, :, row * self.stride :, column * self.stride :]
                outputs = self.convolutional(shifted)
                if scores is None:
                    scores = outputs.new_empty(*outputs.shape[:2], rows, columns)
                destination = scores[:, :, row::passes, column::passes]
                # Rounding up in the network can give one position more than the windows that fit completely.
                destination.copy_(outputs[:, :, : destination.shape[2], : destination.shape[3]])
        assert scores is not None
        return scores

    def crops(self, images: Tensor) -> Tensor:
        """Return the crop at each position: (positions·N, C, H, W), ordered by position."""
        height, width = self.input_size
        rows = range(0, images.shape[2] - height + 1, self.stride)
        columns = range(0, images.shape[3] - width + 1, self.stride)
        return torch.cat(
            [images[:, :, row : row + height, column : column + width] for row in rows for column in columns]
        )


def fully_convolutional(network: nn.Module, input_shape: tuple[int, int, int]) -> nn.Sequential:
    """Return an equivalent network without fully connected layers.

    input_shape is (channels, height, width), the input it was built for: (N, C, H, W) → (N, classes, 1, 1)
    at that size, more positions on larger images. Weights are shared with `network`. Raises ConfigError for
    a network that is not a Classifier, or that has locally connected layers.
    """
    if not isinstance(network, Classifier):
        raise ConfigError(
            [
                "evaluate.dense=true: only cnntrain's own networks can be applied to larger images; those of "
                "model=torchvision, timm and custom are not divided into features and head"
            ]
        )
    if any(isinstance(module, LocallyConnected2d) for module in network.modules()):
        raise ConfigError(
            ["evaluate.dense=true: a locally connected layer has filters for one size of feature map only"]
        )
    head: list[nn.Module] = []
    _rewrite(list(network.head), head, _MapState(_map_size(network, input_shape)))
    return nn.Sequential(network.features, *head).eval()


def own_stride(network: nn.Module, input_shape: tuple[int, int, int]) -> int:
    """Return the distance in pixels between adjacent positions of the last feature map."""
    assert isinstance(network, Classifier)
    channels, height, width = input_shape
    rows, _ = _map_size(network, input_shape)
    more_rows, _ = _map_size(network, (channels, height + STRIDE_MULTIPLE, width))
    assert STRIDE_MULTIPLE % (more_rows - rows) == 0
    return STRIDE_MULTIPLE // (more_rows - rows)


class _MapState:
    """The current size (height, width) of the feature map in the head, at the network's own input size."""

    def __init__(self, size: tuple[int, int]):
        self.size = size
        # Pooling before the first linear layer, as matrices over the rows and columns of the feature map.
        self.pooled: tuple[Tensor, Tensor] | None = None


def _rewrite(modules: list[nn.Module], head: list[nn.Module], state: _MapState) -> None:
    """Append the equivalent of `modules` for any map size to `head`, and update `state`."""
    for module in modules:
        if isinstance(module, nn.Sequential):
            _rewrite(list(module), head, state)
        elif isinstance(module, nn.AdaptiveMaxPool2d):
            assert module.output_size == 1
            head.append(nn.MaxPool2d(state.size, stride=1))
            state.size = (1, 1)
        elif isinstance(module, nn.AdaptiveAvgPool2d):
            _pool(module, head, state)
        elif isinstance(module, nn.Linear):
            head.append(_as_convolution(module, state))
        elif isinstance(module, nn.Flatten):
            continue
        elif isinstance(module, POINTWISE):
            head.append(module)
        else:
            raise AssertionError(f"{type(module).__name__} in the head has no convolutional form")


def _pool(module: nn.AdaptiveAvgPool2d, head: list[nn.Module], state: _MapState) -> None:
    size = module.output_size
    rows, columns = (size, size) if isinstance(size, int | None) else size
    assert rows is not None
    assert columns is not None
    if (rows, columns) == (1, 1):
        head.append(nn.AvgPool2d(state.size, stride=1))
        state.size = (1, 1)
    elif (rows, columns) != state.size:
        state.pooled = (_averages(state.size[0], rows), _averages(state.size[1], columns))


def _averages(size: int, bins: int) -> Tensor:
    """Return adaptive average pooling along one dimension as a matrix (bins, size)."""
    return nn.functional.adaptive_avg_pool1d(torch.eye(size), bins).T


def _as_convolution(layer: nn.Linear, state: _MapState) -> nn.Conv2d:
    """Return the convolution equivalent to `layer`, with a filter of the size of its input map (L8)."""
    rows_columns = state.size if state.pooled is None else (len(state.pooled[0]), len(state.pooled[1]))
    weight = layer.weight.detach().reshape(layer.out_features, -1, *rows_columns)
    if state.pooled is not None:
        # Pooling and the layer after it are both linear, hence one filter on the map before the pooling.
        rows, columns = (matrix.to(weight) for matrix in state.pooled)
        weight = torch.einsum("ocij,ih,jw->ochw", weight, rows, columns)
    with torch.device("meta"):
        convolution = nn.Conv2d(weight.shape[1], layer.out_features, state.size, bias=layer.bias is not None)
    convolution.weight = nn.Parameter(weight, requires_grad=False)
    if layer.bias is not None:
        convolution.bias = nn.Parameter(layer.bias.detach(), requires_grad=False)
    state.size, state.pooled = (1, 1), None
    return convolution


def _map_size(network: Classifier, input_shape: tuple[int, int, int]) -> tuple[int, int]:
    """Return the rows and columns of the last feature map, computed on the meta device."""
    parts = {**dict(network.features.named_parameters()), **dict(network.features.named_buffers())}
    shapes = {name: torch.empty_like(part, device="meta") for name, part in parts.items()}
    images = torch.empty(1, *input_shape, device="meta")
    was_training = network.training
    network.eval()
    maps = functional_call(network.features, shapes, (images,))
    network.train(was_training)
    return maps.shape[2], maps.shape[3]
