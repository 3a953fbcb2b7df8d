"""Dense evaluation: a network slides over larger images in one pass (L8, E5).

A fully connected layer on a map of h x w is a convolution with a filter of h x w, and one after it a
convolution of 1x1. Rewritten so, a network takes larger images and gives one score for each place where
its own input size fits, in steps of its stride, and shares between neighbours all that they see in
common. Where the network pads its maps with zeros, a place inside a larger image sees its real
neighbours in place of zeros, so scores differ from those of a crop cut out there; without padding they
are equal.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ..errors import ConfigError
from .classifier import Classifier
from .layers import ACTIVATIONS as ACTIVATION_MODULES
from .layers import LocallyConnected2d
from .lenet_original import DistanceToCodes
from .settings.base import ACTIVATIONS

# Acts on channels at each place, whether there is one place or many.
POINTWISE = (
    nn.Identity,
    nn.Dropout,
    DistanceToCodes,
    *(type(ACTIVATION_MODULES[name]()) for name in ACTIVATIONS),
)
# A whole number of strides, of any network whose stride divides it: 2^a·3^b·5^c.
FAR = 14400


class SlidingNetwork(nn.Module):
    """The mean score over all places of larger images: (N, C, H', W') → (N, classes).

    `stride` is the step between places in pixels; None takes the network's own, a divisor of that is
    reached by passes over shifted images. Raises ConfigError where the network cannot slide.
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
        """Return the scores of all places: (N, C, H', W') → (N, classes, rows, columns)."""
        passes = self.own_stride // self.stride
        height, width = images.shape[2:]
        if height < self.input_size[0] or width < self.input_size[1]:
            smallest = "x".join(str(side) for side in self.input_size)
            raise ConfigError([f"evaluate.dense=true: images of {height}x{width} are below {smallest}"])
        rows = (height - self.input_size[0]) // self.stride + 1
        columns = (width - self.input_size[1]) // self.stride + 1
        scores: Tensor | None = None
        for row in range(min(passes, rows)):
            for column in range(min(passes, columns)):
                shifted = images[:, :, row * self.stride :, column * self.stride :]
                found = self.convolutional(shifted)
                if scores is None:
                    scores = found.new_empty(*found.shape[:2], rows, columns)
                mine = scores[:, :, row::passes, column::passes]
                # Rounding in the network may leave one place more than fits whole.
                mine.copy_(found[:, :, : mine.shape[2], : mine.shape[3]])
        assert scores is not None
        return scores

    def crops(self, images: Tensor) -> Tensor:
        """Return what each place sees, cut out: (places·N, C, H, W), place by place."""
        height, width = self.input_size
        rows = range(0, images.shape[2] - height + 1, self.stride)
        columns = range(0, images.shape[3] - width + 1, self.stride)
        return torch.cat(
            [images[:, :, row : row + height, column : column + width] for row in rows for column in columns]
        )


def fully_convolutional(network: nn.Module, input_shape: tuple[int, int, int]) -> nn.Sequential:
    """Return a network without fully connected layers and with equal scores.

    input_shape is (channels, height, width), the input it was built for: (N, C, H, W) → (N, classes, 1, 1)
    there, more places on larger images. Weights are shared with the network. Raises ConfigError for a
    network that is none of ours, or whose layers know their place.
    """
    if not isinstance(network, Classifier):
        raise ConfigError(
            [
                "evaluate.dense=true: only cnntrain's own networks can slide; those of model=torchvision, "
                "timm and custom do not say where their maps end"
            ]
        )
    if any(isinstance(module, LocallyConnected2d) for module in network.modules()):
        raise ConfigError(
            ["evaluate.dense=true: a locally connected layer has filters for its own places only"]
        )
    head: list[nn.Module] = []
    _rewrite(list(network.head), head, _Place(_map_size(network, input_shape)))
    return nn.Sequential(network.features, *head).eval()


def own_stride(network: nn.Module, input_shape: tuple[int, int, int]) -> int:
    """Return the step in pixels from one place of the last map to the next."""
    assert isinstance(network, Classifier)
    channels, height, width = input_shape
    rows, _ = _map_size(network, input_shape)
    more_rows, _ = _map_size(network, (channels, height + FAR, width))
    assert FAR % (more_rows - rows) == 0
    return FAR // (more_rows - rows)


class _Place:
    """How far the rewriting has come: the map's size at the network's own input size."""

    def __init__(self, size: tuple[int, int]):
        self.size = size
        # What pooling before the first linear layer makes of a map's rows and columns.
        self.pooled: tuple[Tensor, Tensor] | None = None


def _rewrite(modules: list[nn.Module], head: list[nn.Module], place: _Place) -> None:
    """Append to `head` what gives the same scores as `modules` and slides; `place` goes along."""
    for module in modules:
        if isinstance(module, nn.Sequential):
            _rewrite(list(module), head, place)
        elif isinstance(module, nn.AdaptiveAvgPool2d):
            _pool(module, head, place)
        elif isinstance(module, nn.Linear):
            head.append(_as_convolution(module, place))
        elif isinstance(module, nn.Flatten):
            continue
        elif isinstance(module, POINTWISE):
            head.append(module)
        else:
            raise AssertionError(f"{type(module).__name__} in the head cannot slide")


def _pool(module: nn.AdaptiveAvgPool2d, head: list[nn.Module], place: _Place) -> None:
    size = module.output_size
    rows, columns = (size, size) if isinstance(size, int | None) else size
    assert rows is not None
    assert columns is not None
    if (rows, columns) == (1, 1):
        head.append(nn.AvgPool2d(place.size, stride=1))
        place.size = (1, 1)
    elif (rows, columns) != place.size:
        place.pooled = (_averages(place.size[0], rows), _averages(place.size[1], columns))


def _averages(size: int, bins: int) -> Tensor:
    """Return what adaptive average pooling does along one side, as a matrix (bins, size)."""
    return nn.functional.adaptive_avg_pool1d(torch.eye(size), bins).T


def _as_convolution(layer: nn.Linear, place: _Place) -> nn.Conv2d:
    """Return the convolution whose filter is as large as the map that `layer` reads (L8)."""
    rows_columns = place.size if place.pooled is None else (len(place.pooled[0]), len(place.pooled[1]))
    weight = layer.weight.detach().reshape(layer.out_features, -1, *rows_columns)
    if place.pooled is not None:
        # Pooling and the layer after it are both linear: one filter on the map before the pooling.
        rows, columns = (matrix.to(weight) for matrix in place.pooled)
        weight = torch.einsum("ocij,ih,jw->ochw", weight, rows, columns)
    with torch.device("meta"):
        convolution = nn.Conv2d(weight.shape[1], layer.out_features, place.size, bias=layer.bias is not None)
    convolution.weight = nn.Parameter(weight, requires_grad=False)
    if layer.bias is not None:
        convolution.bias = nn.Parameter(layer.bias.detach(), requires_grad=False)
    place.size, place.pooled = (1, 1), None
    return convolution


def _map_size(network: Classifier, input_shape: tuple[int, int, int]) -> tuple[int, int]:
    """Return rows and columns of the last map, without computing one."""
    parts = {**dict(network.features.named_parameters()), **dict(network.features.named_buffers())}
    shapes = {name: torch.empty_like(part, device="meta") for name, part in parts.items()}
    images = torch.empty(1, *input_shape, device="meta")
    was_training = network.training
    network.eval()
    maps = functional_call(network.features, shapes, (images,))
    network.train(was_training)
    return maps.shape[2], maps.shape[3]
