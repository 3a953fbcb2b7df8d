"""3x3 convolutions by Winograd's algorithm F(4x4, 3x3) (Lavin & Gray 2015), with their gradients.

It takes a fourth of the multiplications of a direct convolution, and transforms of input and output, which
are additions. The batch is worked through in parts whose points stay in the cache. All is in float32, on the
CPU; results differ from those of torch's convolution by rounding (1e-6 of the norm).
"""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .kernels import Shape, kernels

# Bytes of the points of input and output that are worked on at once, for each thread.
IN_CACHE = 5_000_000
# G, which transforms a filter's rows and columns to points (Lavin & Gray 2015, equation 13).
_OF_FILTER = [
    *([1 / 4, 0, 0], [-1 / 6, -1 / 6, -1 / 6], [-1 / 6, 1 / 6, -1 / 6]),
    *([1 / 24, 1 / 12, 1 / 6], [1 / 24, -1 / 12, 1 / 6], [0, 0, 1]),
]


class _Part(NamedTuple):
    """Some images of a batch, from the `first` on: shapes of input and output, and the number of tiles."""

    first: int
    input: Shape
    output: Shape
    tiles: int


class _Points:
    """Memory for the points of each part in turn, so that it stays in the cache."""

    def __init__(self, images: Tensor, parts: list[_Part], channels: int):
        self._channels = channels
        self._memory = images.new_empty(36 * channels * max(part.tiles for part in parts))

    def of(self, part: _Part) -> Tensor:
        """Return the points (36, tiles, channels) of a part, not initialized."""
        size = 36 * part.tiles * self._channels
        return self._memory[:size].view(36, part.tiles, self._channels)


def convolve(images: Tensor, filters: Tensor, bias: Tensor | None, padding: int) -> Tensor:
    """Return the convolution of images (N, C, H, W) with filters (K, C, 3, 3), at stride 1.

    images: float32, contiguous in the channels-last format. C and K are multiples of 8.
    """
    convolved: Tensor = _Winograd.apply(images, filters, bias, padding)
    return convolved


class _Winograd(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, filters: Tensor, bias: Tensor | None, padding: int) -> Tensor:
        ctx.save_for_backward(images, filters)
        ctx.padding = padding
        return _forward(images, filters, bias, padding)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        images, filters = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        of_images, of_filters = _backward(gradient, images, filters, ctx.padding, ctx.needs_input_grad)
        of_bias = gradient.sum((0, 2, 3)) if ctx.needs_input_grad[2] else None
        return of_images, of_filters, of_bias, None


def _forward(images: Tensor, filters: Tensor, bias: Tensor | None, padding: int) -> Tensor:
    (count, channels, height, width), outputs, library = images.shape, len(filters), kernels()
    size = (height + 2 * padding - 2, width + 2 * padding - 2)
    convolved = images.new_empty((count, outputs, *size)).contiguous(memory_format=torch.channels_last)
    of_filters, parts = _filter_points(filters), _parts(images.shape, convolved.shape, padding)
    inputs, results = (_Points(images, parts, number) for number in (channels, outputs))
    for part in parts:
        of_input, of_output = inputs.of(part), results.of(part)
        library.input_to_points(_at(images, part), of_input.data_ptr(), part.input)
        torch.bmm(of_input, of_filters, out=of_output)
        of_bias = None if bias is None else bias.data_ptr()
        library.points_to_images(of_output.data_ptr(), of_bias, _at(convolved, part), part.output)
    return convolved


def _backward(
    gradient: Tensor, images: Tensor, filters: Tensor, padding: int, needed: tuple[bool, ...]
) -> tuple[Tensor | None, Tensor | None]:
    """Return the gradients of the images and of the filters, each None where it is not needed."""
    channels, outputs, library = images.shape[1], len(filters), kernels()
    of_images = torch.empty_like(images) if needed[0] else None
    products = images.new_zeros(36, channels, outputs) if needed[1] else None
    parts = _parts(images.shape, gradient.shape, padding)
    of_filters = _filter_points(filters.transpose(0, 1)) if of_images is not None else None
    inputs, results = (_Points(images, parts, number) for number in (channels, outputs))
    for part in parts:
        of_input, of_output = inputs.of(part), results.of(part)
        library.output_to_points(_at(gradient, part), of_output.data_ptr(), part.output)
        if products is not None:
            library.input_to_points(_at(images, part), of_input.data_ptr(), part.input)
            products.baddbmm_(of_input.transpose(1, 2), of_output)
        if of_images is not None and of_filters is not None:
            torch.bmm(of_output, of_filters, out=of_input)
            library.points_to_input_gradient(of_input.data_ptr(), _at(of_images, part), part.input)
    return of_images, None if products is None else _from_filter_points(products)


def _filter_points(filters: Tensor) -> Tensor:
    """Return the points (36, C, K) of filters (K, C, 3, 3)."""
    outputs, channels = filters.shape[:2]
    flat = filters.detach().permute(2, 3, 1, 0).reshape(9, channels * outputs)
    return (_transform(filters) @ flat).view(36, channels, outputs)


def _from_filter_points(points: Tensor) -> Tensor:
    """Return the gradient of filters (K, C, 3, 3) from that of their points (36, C, K)."""
    _, channels, outputs = points.shape
    flat = _transform(points).t() @ points.view(36, channels * outputs)
    return flat.view(3, 3, channels, outputs).permute(3, 2, 0, 1)


def _transform(like: Tensor) -> Tensor:
    """Return the matrix (36, 9) from the weights of a filter to its points."""
    matrix = torch.tensor(_OF_FILTER, dtype=torch.float64)
    return torch.kron(matrix, matrix).to(like.dtype)


def _parts(images: torch.Size, convolved: torch.Size, padding: int) -> list[_Part]:
    """Return parts of a batch whose points fit into the cache."""
    (count, channels, height, width), (_, outputs, *size) = images, convolved
    rows, columns = (-(-side // 4) for side in size)
    bytes_of_image = 36 * 4 * rows * columns * (channels + outputs)
    most = max(1, IN_CACHE * torch.get_num_threads() // bytes_of_image)
    # Of about equal sizes, so that none is small.
    parts = -(-count // most)
    bounds = [count * number // parts for number in range(parts + 1)]
    return [
        _Part(
            start,
            Shape(end - start, height, width, channels, padding, rows, columns),
            Shape(end - start, *size, outputs, 0, rows, columns),
            (end - start) * rows * columns,
        )
        for start, end in itertools.pairwise(bounds)
    ]


def _at(images: Tensor, part: _Part) -> int:
    """Return the address of the first image of a part."""
    return images.data_ptr() + part.first * images.stride(0) * images.element_size()
