"""Building blocks used by several networks."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..initialization.weights import group_indices

MAXOUT_PIECES = 2


class Maxout(nn.Module):
    """The maximum of each `pieces` consecutive channels (Goodfellow et al. 2013; L5).

    (N, pieces·C, …) → (N, C, …): the preceding layer computes `pieces` linear functions for each unit.
    """

    def __init__(self, pieces: int = MAXOUT_PIECES):
        super().__init__()
        self.pieces = pieces

    def forward(self, values: Tensor) -> Tensor:
        return torch.unflatten(values, 1, (-1, self.pieces)).max(2).values


AMPLITUDE = 1.7159


class ScaledTanh(nn.Module):
    """1.7159·tanh(2a/3): its curvature is largest near ±1, LeNet-5's targets (LeCun et al. 1998; N2)."""

    def forward(self, values: Tensor) -> Tensor:
        return AMPLITUDE * torch.tanh(values * (2 / 3))


class L2Pool2d(nn.Module):
    """The Euclidean norm of each window: (N, C, H, W) → (N, C, H', W') (L4).

    The gradient of torch's LPPool2d is undefined where a window is all zeros, as is frequent after ReLU.
    """

    def __init__(self, kernel_size: int, stride: int, padding: int = 0, ceil_mode: bool = False):
        super().__init__()
        self.window: dict[str, Any] = {
            "kernel_size": kernel_size,
            "stride": stride,
            "padding": padding,
            "ceil_mode": ceil_mode,
        }

    def forward(self, maps: Tensor) -> Tensor:
        squares = maps.to(torch.promote_types(maps.dtype, torch.float32)).square()
        sums = F.avg_pool2d(squares, **self.window, divisor_override=1)
        return (sums + 1e-12).sqrt().to(maps.dtype)


class ResponseNorm(nn.LocalResponseNorm):
    """Each value divided by (k + α/n·sum of squares over n neighbouring channels)^¾ (L6).

    torch's own implementation is a 3D pooling over the channels, which takes several times as long on a
    CPU and is not available in bfloat16. Sums are computed in float32 or a wider type.
    """

    def forward(self, input: Tensor) -> Tensor:
        assert self.beta == 0.75
        channels_before = self.size // 2
        squares = input.to(torch.promote_types(input.dtype, torch.float32)).square()
        squares = F.pad(squares, (0, 0, 0, 0, channels_before, self.size - 1 - channels_before))
        channels = input.shape[1]
        sums = squares[:, :channels]
        for shift in range(1, self.size):
            sums = sums + squares[:, shift : shift + channels]
        root = (sums * (self.alpha / self.size) + self.k).rsqrt()
        return input * (root * root.sqrt()).to(input.dtype)


class LocallyConnected2d(nn.Module):
    """A convolution without shared weights, with a separate filter at each position (L3).

    (N, in_channels, H, W) → (N, channels, H', W'), H' = floor((H - F + 2P)/S) + 1. Weights (H'·W',
    channels, in_channels·F·F), bias (channels·H'·W').
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        kernel_size: int,
        map_size: tuple[int, int],
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
    ):
        super().__init__()
        effective_size = dilation * (kernel_size - 1) + 1
        self.window = {"kernel_size": kernel_size, "dilation": dilation, "padding": padding, "stride": stride}
        self.out_size = tuple((side + 2 * padding - effective_size) // stride + 1 for side in map_size)
        positions = self.out_size[0] * self.out_size[1]
        self.weight = nn.Parameter(torch.empty(positions, channels, in_channels * kernel_size**2))
        self.bias = nn.Parameter(torch.zeros(channels * positions))  # one dimension, like all other biases
        nn.init.normal_(self.weight, std=self.weight.shape[2] ** -0.5)

    def forward(self, maps: Tensor) -> Tensor:
        columns = F.unfold(maps, **self.window).permute(2, 1, 0)  # (positions, in_channels·F·F, N)
        values = torch.bmm(self.weight, columns)  # (positions, channels, N)
        values = values.permute(2, 1, 0).flatten(1) + self.bias
        return torch.unflatten(values, 1, (-1, *self.out_size))

    def fan_in(self) -> float:
        """Return the number of weights of one output."""
        return self.weight.shape[2]

    def fan_out(self) -> float:
        """Return the number of weights applied to one input, away from the borders and at stride 1."""
        return self.weight.shape[1] * self.window["kernel_size"] ** 2

    def weight_indices(self, direction: str) -> Tensor:
        """Return the indices into the flat weight of each output's ("in") or input's ("out") weights."""
        if direction == "in":
            return torch.arange(self.weight.numel()).view(self.weight.shape).flatten(0, 1)
        return group_indices(self._inputs_of_weights())

    def unit_norms(self) -> Tensor:
        """Return the norm of the weights of each output, (positions, channels)."""
        norms: Tensor = torch.linalg.vector_norm(self.weight, dim=2)
        return norms

    def _inputs_of_weights(self) -> Tensor:
        """Return the index of the padded input value of each weight, in the shape of the weight."""
        side, stride, dilation = (self.window[name] for name in ("kernel_size", "stride", "dilation"))
        height, width = self.out_size
        padded = (height * stride + side * dilation, width * stride + side * dilation)
        channels = self.weight.shape[2] // side**2
        input_indices = torch.arange(channels * padded[0] * padded[1]).view(channels, *padded)
        rows = stride * torch.arange(height)[:, None] + dilation * torch.arange(side)
        columns = stride * torch.arange(width)[:, None] + dilation * torch.arange(side)
        # (channels, height, F, width, F) → (height·width, 1, channels·F·F)
        indices = input_indices[:, rows][..., columns].permute(1, 3, 0, 2, 4).flatten(2).flatten(0, 1)
        return indices[:, None].expand(self.weight.shape)


class TableConvolution(nn.Module):
    """A convolution with a table of the input maps connected to each output map (LeCun et al. 1998; N2).

    (N, in_channels, H, W) → (N, len(table), H - F + 1, W - F + 1). Weights exist for the connections in
    the table only: (connections, F, F), in the order of the table.
    """

    rows: Tensor
    columns: Tensor

    def __init__(self, in_channels: int, table: Sequence[Sequence[int]], kernel_size: int):
        super().__init__()
        self.in_channels = in_channels
        pairs = [(row, column) for row, inputs in enumerate(table) for column in inputs]
        self.weight = nn.Parameter(torch.empty(len(pairs), kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.zeros(len(table)))
        self.register_buffer("rows", torch.tensor([row for row, _ in pairs]), persistent=False)
        self.register_buffer("columns", torch.tensor([column for _, column in pairs]), persistent=False)
        nn.init.normal_(self.weight, std=(len(table) / self.weight.numel()) ** 0.5)

    def forward(self, maps: Tensor) -> Tensor:
        shape = (len(self.bias), self.in_channels, *self.weight.shape[1:])
        filters = self.weight.new_zeros(shape).index_put((self.rows, self.columns), self.weight)
        return F.conv2d(maps, filters, self.bias)

    def fan_in(self) -> float:
        """Return the number of weights of one output, averaged over the output maps."""
        return self.weight.numel() / len(self.bias)

    def fan_out(self) -> float:
        """Return the number of weights applied to one input, away from borders, averaged over input maps."""
        return self.weight.numel() / self.in_channels

    def weight_indices(self, direction: str) -> Tensor:
        """Return the indices into the flat weight of each output's ("in") or input map's ("out") weights."""
        maps = self.rows if direction == "in" else self.columns
        return group_indices(maps[:, None, None].expand(self.weight.shape))

    def unit_norms(self) -> Tensor:
        """Return the norm of the weights of each output map, (maps,)."""
        squares = self.weight.square().sum((1, 2))
        return squares.new_zeros(len(self.bias)).index_add(0, self.rows, squares).sqrt()


# In-place where the backward pass needs only the output, which saves a copy of each feature map.
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": lambda: nn.ReLU(inplace=True),
    "tanh": nn.Tanh,
    "scaled_tanh": ScaledTanh,
    "sigmoid": nn.Sigmoid,
    "leaky_relu": lambda: nn.LeakyReLU(0.01, inplace=True),
    "elu": lambda: nn.ELU(inplace=True),
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "maxout": Maxout,
}

POOLINGS: dict[str, Callable[..., nn.Module]] = {
    "max": nn.MaxPool2d,
    "average": nn.AvgPool2d,
    "l2": L2Pool2d,
}


def activation(name: str) -> nn.Module:
    """Return the activation function called `name` (L5)."""
    return ACTIVATIONS[name]()


def preactivations(units: int, activation_name: str) -> int:
    """Return the number of outputs that the layer before an activation needs for `units` activations."""
    return units * MAXOUT_PIECES if activation_name == "maxout" else units


def scaled(units: int, width: float) -> int:
    """Return `units` times `width`, rounded to an even number of at least 2, divisible into two groups."""
    return max(2, 2 * math.floor(units * width / 2 + 0.5))


def pooling(
    kind: str, kernel_size: int = 2, stride: int = 2, padding: int = 0, ceil_mode: bool = False
) -> nn.Module:
    """Return a pooling layer ("max", "average", "l2"), by default 2x2 with stride 2, which halves a map (L4).

    `ceil_mode` includes windows that extend beyond the map's end, so that sizes are rounded up.
    """
    return POOLINGS[kind](kernel_size, stride, padding, ceil_mode=ceil_mode)


def response_norm() -> nn.LocalResponseNorm:
    """Return AlexNet's local response normalization: k = 2, n = 5, α = 1e-4, β = 0.75 (L6).

    The paper's α multiplies the sum over n channels, torch's the mean over them: hence 5e-4.
    """
    return ResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)


def dropout(rate: float) -> nn.Module:
    """Return inverted dropout of a fraction of the units, or an identity at rate 0 (L7).

    It is a module in both cases, so that a network's parameter names do not depend on the rate.
    """
    return nn.Dropout(rate) if rate > 0 else nn.Identity()


def hidden_layers(inputs: int, sizes: list[int], activation_name: str, rate: float) -> nn.Sequential:
    """Return [FC → act → dropout]·K: (N, inputs) → (N, sizes[-1])."""
    layers: list[nn.Module] = []
    for size in sizes:
        units = preactivations(size, activation_name)
        layers += [nn.Linear(inputs, units), activation(activation_name), dropout(rate)]
        inputs = size
    return nn.Sequential(*layers)


def average_head(channels: int, classes: int, rate: float) -> nn.Sequential:
    """Return a head without hidden layers: global average pooling → dropout → scores (L4)."""
    return nn.Sequential(
        OrderedDict(
            pool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            dropout=dropout(rate),
            output=nn.Linear(channels, classes),
        )
    )


def convolution(in_channels: int, channels: int, kernel_size: int, stride: int = 1) -> nn.Conv2d:
    """Return a convolution without bias whose padding keeps the map's size, for use before a norm (L1)."""
    return nn.Conv2d(in_channels, channels, kernel_size, stride, kernel_size // 2, bias=False)


class ConvUnit(nn.Sequential):
    """Convolution → batch norm? → activation → response norm?, the standard unit of the networks.

    (N, in_channels, H, W) → (N, channels, H', W'). `padding` None keeps the map's size at stride 1;
    `normalization` is "none", "batch" or "lrn"; a convolution before batch norm has no bias unless `bias`.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        kernel_size: int | tuple[int, int],
        stride: int = 1,
        padding: int | tuple[int, int] | None = None,
        *,
        groups: int = 1,
        dilation: int = 1,
        normalization: str = "none",
        activation_name: str = "relu",
        bias: bool | None = None,
        eps: float = 1e-5,
    ):
        height, width = (kernel_size, kernel_size) if isinstance(kernel_size, int) else kernel_size
        if padding is None:
            padding = (dilation * (height - 1) // 2, dilation * (width - 1) // 2)
        if bias is None:
            bias = normalization != "batch"
        units = preactivations(channels, activation_name)
        parts: OrderedDict[str, nn.Module] = OrderedDict()
        parts["conv"] = nn.Conv2d(
            in_channels, units, (height, width), stride, padding, dilation, groups, bias
        )
        if normalization == "batch":
            parts["norm"] = nn.BatchNorm2d(units, eps)
        parts["activation"] = activation(activation_name)
        if normalization == "lrn":
            parts["response_norm"] = response_norm()
        super().__init__(parts)


class ZeroPadShortcut(nn.Module):
    """Shortcut A of He et al. 2016: every `stride`-th position, with zeros in the added channels.

    No weights: (N, in_channels, H, W) → (N, channels, H/stride, W/stride), rounded up.
    """

    def __init__(self, in_channels: int, channels: int, stride: int):
        super().__init__()
        self.new_channels = channels - in_channels
        self.stride = stride

    def forward(self, maps: Tensor) -> Tensor:
        subsampled = maps[:, :, :: self.stride, :: self.stride]
        return F.pad(subsampled, (0, 0, 0, 0, 0, self.new_channels))


def projection(in_channels: int, channels: int, stride: int) -> nn.Sequential:
    """Return shortcut B of He et al. 2016: a 1x1 convolution to the new shape, then batch norm."""
    return nn.Sequential(convolution(in_channels, channels, 1, stride), nn.BatchNorm2d(channels))


def shortcut(option: str, in_channels: int, channels: int, stride: int) -> nn.Module | None:
    """Return the shortcut of a residual block by option A, B or C; None for "none" (N11)."""
    same_shape = stride == 1 and in_channels == channels
    if option == "none":
        return None
    if option == "C" or (option == "B" and not same_shape):
        return projection(in_channels, channels, stride)
    return nn.Identity() if same_shape else ZeroPadShortcut(in_channels, channels, stride)
