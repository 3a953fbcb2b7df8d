"""Receptive fields and multiply-adds, against pixels that are not a number, gradients and torch's counts."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from cnntrain.costs.layer_costs import LayerCost, layer_table
from cnntrain.costs.receptive_field import (
    ReceptiveField,
    ReceptiveFieldTracer,
    arguments_of,
    multiply_adds,
)
from cnntrain.model import shared_layers
from cnntrain.without_compiler import DispatchMode

Program = Callable[[Tensor], Tensor]
CHANNELS, HEIGHT, WIDTH = 2, 8, 6


class Tracing(DispatchMode):
    """Traces receptive fields, and counts multiply-adds, of the operations run within it."""

    def __init__(self, images: Tensor):
        super().__init__()
        self.tracer = ReceptiveFieldTracer(images)
        self.multiply_adds = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        operation = func._schema.name.removeprefix("aten::")
        arguments = arguments_of(func, args, kwargs or {})
        self.tracer.trace(operation, arguments, result)
        self.multiply_adds += multiply_adds(operation, arguments, result)
        return result


def image(height: int = HEIGHT, width: int = WIDTH) -> Tensor:
    return torch.ones(1, CHANNELS, height, width, dtype=torch.float64)


def ones(*shape: int) -> Tensor:
    return torch.ones(shape, dtype=torch.float64)


def traced(program: Program, images: Tensor) -> tuple[Tensor, ReceptiveField]:
    """Return the output of a program and its receptive field."""
    with Tracing(images) as tracing:
        output = program(images)
    field = tracing.tracer.field_of(output)
    assert field is not None
    return output, field


def seen_pixels(program: Program, images: Tensor) -> Tensor:
    """Return which values of the output are lost where a pixel is not a number: (H, W, values)."""
    height, width = images.shape[2:]
    seen = []
    for pixel in range(height * width):
        damaged = images.clone()
        damaged[:, :, pixel // width, pixel % width] = math.nan
        seen.append(program(damaged).isnan().flatten())
    return torch.stack(seen).unflatten(0, (height, width))


def positions_of_values(field: ReceptiveField, shape: torch.Size) -> Tensor:
    """Return the position (row, column) of each value of a tensor, (2, values), rows before columns."""
    rows, columns = field.positions
    positions = torch.zeros(2, *shape, dtype=torch.int64)
    for dim, sides in enumerate(field.axes):
        index = torch.arange(shape[dim]).view(-1, *[1] * (len(shape) - dim - 1))
        if sides == {0, 1}:
            positions[0] += index // columns % rows
            positions[1] += index % columns
        elif sides:
            (side,) = sides
            positions[side] += index % field.positions[side]
    return positions.reshape(2, -1)


def bounds(pixels: Tensor, side: int) -> tuple[int, int]:
    """Return the first and the last row (side 0) or column (side 1) of the marked pixels."""
    indices = pixels.any(1 - side).nonzero()
    return int(indices.min()), int(indices.max())


def check_each_position(
    program: Program, images: Tensor, sides: tuple[int, ...] = (0, 1), zeros_beyond: bool = True
) -> ReceptiveField:
    """Compare the window of each position with the pixels that matter, along the sides that are known.

    Windows within the image are equal to them, windows that reach beyond its borders contain them.
    """
    output, field = traced(program, images)
    assert tuple(side for side in (0, 1) if field.extents[side] is not None) == sides
    seen = seen_pixels(program, images)
    positions = positions_of_values(field, output.shape)
    compared = 0
    for position in positions.unique(dim=1).T:
        pixels = seen[:, :, (positions == position[:, None]).all(0)].any(2)
        found = {side: bounds(pixels, side) for side in sides} if pixels.any() else {}
        windows = {}
        for side in sides:
            extent = field.extents[side]
            assert extent is not None
            shift = int(position[side]) * extent.stride
            windows[side] = (extent.first + shift, extent.last + shift)
        if all(first >= 0 and last < images.shape[2 + side] for side, (first, last) in windows.items()):
            assert windows == found, position.tolist()
            compared += 1
        elif zeros_beyond:
            for side, (first, last) in found.items():
                assert windows[side][0] <= first, position.tolist()
                assert windows[side][1] >= last, position.tolist()
    assert compared or not sides
    return field


def tokens(maps: Tensor) -> Tensor:
    """Return maps (N, C, H, W) as rows of positions (N, H·W, C)."""
    return maps.flatten(2).transpose(1, 2)


def attention(rows: Tensor, queries: Tensor | None = None) -> Tensor:
    return F.scaled_dot_product_attention(rows if queries is None else queries, rows, rows)


def windows(maps: Tensor) -> Tensor:
    """Return windows of 4x3 as images of their own, (4, C, 4, 3)."""
    parts = maps.unflatten(3, (-1, 3)).unflatten(2, (-1, 4))
    return parts.permute(0, 2, 4, 1, 3, 5).flatten(0, 2)


# Without padding, so that a sum over all positions sees exactly the windows of all positions.
UNPADDED: dict[str, Program] = {
    "identity": lambda maps: maps.relu(),
    "convolution": lambda maps: F.conv2d(maps, ones(3, 2, 3, 2)),
    "strided convolution": lambda maps: F.conv2d(maps, ones(3, 2, 2, 3), stride=(2, 3)),
    "dilated convolution": lambda maps: F.conv2d(maps, ones(3, 2, 3, 2), dilation=(2, 3)),
    "two convolutions": lambda maps: F.conv2d(F.conv2d(maps, ones(1, 2, 2, 2), stride=2), ones(1, 1, 2, 2)),
    "max pooling": lambda maps: F.max_pool2d(maps, (3, 2)),
    "overlapping max pooling": lambda maps: F.max_pool2d(maps, 3, (1, 2)),
    "dilated max pooling": lambda maps: F.max_pool2d(maps, 2, 1, 0, 2),
    "average pooling": lambda maps: F.avg_pool2d(maps, 2),
    "pooling of channels too": lambda maps: F.avg_pool3d(maps[:, None], (2, 3, 2)),
    "columns": lambda maps: F.unfold(maps, (3, 2), dilation=(1, 2), stride=(2, 1)),
    "adaptive pooling": lambda maps: F.adaptive_avg_pool2d(maps, (4, 3)),
    "adaptive pooling with overlap": lambda maps: F.adaptive_avg_pool2d(maps[:, :, :7, :4], 3),
    "adaptive pooling to one row": lambda maps: F.adaptive_max_pool2d(maps, (1, 3)),
    "adaptive pooling to one value": lambda maps: F.adaptive_avg_pool2d(maps, 1),
    "adaptive pooling to one column": lambda maps: F.adaptive_avg_pool2d(maps[:, :, :4], (2, 1)),
    "mean after a row was added": lambda maps: (maps + maps[:, :, 3:4]).mean(2),
    "mean after a chosen row was added": lambda maps: (maps + maps[:, :, 3][:, :, None]).mean(2),
    "mean": lambda maps: maps.mean((2, 3)),
    "mean kept": lambda maps: maps.mean((-1, -2), keepdim=True),
    "mean of rows": lambda maps: maps.mean(2),
    "mean of channels": lambda maps: maps.mean(1),
    "sum": lambda maps: maps.sum(),
    "maximum of columns": lambda maps: maps.max(3).values,
    "variance": lambda maps: torch.var_mean(maps, 2)[0],
    "norm": lambda maps: torch.linalg.vector_norm(maps, dim=3),
    "softmax of channels": lambda maps: maps.softmax(1),
    "softmax of columns": lambda maps: maps.softmax(-1),
    "softmax of positions": lambda maps: maps.flatten(2).log_softmax(2),
    "flattened": lambda maps: maps.flatten(1),
    "flattened positions": lambda maps: maps.flatten(2),
    "flattened channels and rows": lambda maps: maps.flatten(1, 2),
    "unflattened": lambda maps: maps.flatten(1).view_as(maps),
    "flattened twice": lambda maps: maps.flatten(2).flatten(1).view_as(maps),
    "unflattened positions": lambda maps: tokens(maps).transpose(1, 2).unflatten(2, maps.shape[2:]),
    "unflattened after a linear layer": lambda maps: F.linear(tokens(maps), ones(3, 2)).mT.unflatten(
        2, maps.shape[2:]
    ),
    "unflattened after a mean was added": lambda maps: (
        tokens(maps) + tokens(maps).mean(1, keepdim=True)
    ).mT.unflatten(2, maps.shape[2:]),
    "unflattened after addition to a mean": lambda maps: (
        tokens(maps).mean(1, keepdim=True) + tokens(maps)
    ).mT.unflatten(2, maps.shape[2:]),
    "unflattened and flattened": lambda maps: (
        F.linear(tokens(maps), ones(3, 2)).mT.unflatten(2, maps.shape[2:]).flatten(1, 2)
    ),
    "unflattened columns and rows": lambda maps: maps.mT.flatten(1).unflatten(1, (2, 6, 8)),
    "unflattened channels": lambda maps: maps.view(1, 2, 1, 8, 6).transpose(1, 2).reshape(1, 2, 8, 6),
    "row without its dimension": lambda maps: F.conv2d(maps, ones(3, 2, 8, 1)).view(1, 3, -1),
    "row without dimensions of size 1": lambda maps: F.conv2d(maps, ones(3, 2, 8, 1)).view(3, -1),
    "row with another dimension": lambda maps: F.conv2d(maps, ones(3, 2, 8, 1)).view(1, 1, 3, 1, -1),
    "row in a batch, broadcast": lambda maps: F.conv2d(maps, ones(4, 2, 8, 1)).view(2, 2, 1, -1) + maps,
    "row with another dimension, broadcast": lambda maps: (
        F.conv2d(maps, ones(2, 2, 8, 1)).view(1, 1, 2, 1, -1) + maps
    ),
    "row without its dimension, broadcast": lambda maps: (
        F.conv2d(maps, ones(2, 2, 8, 1)).view(1, 2, -1)[:, :, None] + maps
    ),
    "row without its dimension, other channels": lambda maps: (
        F.conv2d(maps, ones(2, 2, 8, 1)).view(1, 2, -1).roll(1, 1)
    ),
    "one value flattened": lambda maps: F.conv2d(maps, ones(3, 2, 8, 6)).flatten(1).view(1, 3, 1, 1),
    "permuted": lambda maps: maps.permute(0, -1, 1, -2),
    "transposed": lambda maps: maps.transpose(-1, 1),
    "transposed matrix": lambda maps: maps[0, 1].t(),
    "unsqueezed": lambda maps: maps.unsqueeze(2),
    "unsqueezed from the right": lambda maps: maps.unsqueeze(-2),
    "squeezed": lambda maps: maps.mean(1, keepdim=True).squeeze(),
    "squeezed row": lambda maps: maps[:, :, 3:4].squeeze(-2),
    "squeezed in vain": lambda maps: maps.squeeze(2),
    "expanded row": lambda maps: maps[:, :, 3:4].expand(1, 2, 8, 6),
    "pooled copies of a row": lambda maps: F.max_pool2d(maps[:, :, 3:4].expand(1, 2, 2, 6), (2, 1)),
    "pooled copies of a column": lambda maps: F.max_pool2d(maps[:, :1, :, 2:3].expand(1, 1, 8, 6), (1, 2)),
    "expanded with a new dimension": lambda maps: maps.expand(3, 1, 2, 8, 6),
    "slice": lambda maps: maps[:, :, 1::3, 2:5],
    "slice from the end": lambda maps: maps[:, :, -3:, -4:-1],
    "slice from before the start": lambda maps: maps[:, :, -20:],
    "slice of a strided map": lambda maps: F.avg_pool2d(maps, 2)[:, :, 1::2],
    "row": lambda maps: maps[:, :, 3],
    "column from the end": lambda maps: maps[..., -2],
    "channel": lambda maps: maps[:, 1],
    "parts of the channels": lambda maps: maps.split(1, 1)[1],
    "one channel of all": lambda maps: maps.unbind(1)[1],
    "reordered channels": lambda maps: maps.roll(1, 1),
    "concatenation": lambda maps: torch.cat([maps[:, :, 1:7], F.conv2d(maps, ones(1, 2, 3, 1))], 1),
    "concatenation with constants": lambda maps: torch.cat([ones(1, 1, 8, 6), maps], 1),
    "stack": lambda maps: torch.stack([F.max_pool2d(maps, (1, 3), 1), maps[..., 1:5]], -1),
    "stack along a new first dimension": lambda maps: torch.stack([maps, 2 * maps]),
    "cropped by padding": lambda maps: F.pad(maps, (-1, -2, -2, -1)),
    "padded channels": lambda maps: F.pad(maps, (0, 0, 0, 0, 1, 2)),
    "matrix product": lambda maps: maps[0, 0] @ ones(6, 3),
    "matrix product from the left": lambda maps: ones(3, 8) @ maps[0, 0],
    "sum with a matrix product": lambda maps: torch.addmm(ones(3), maps[0, 0], ones(6, 3)),
    "matrix product added": lambda maps: torch.addmm(maps[0, 0, :3, :2], ones(3, 4), ones(4, 2)),
    "matrix product added to itself": lambda maps: torch.addmm(maps[0, 0, :, :3], maps[0, 1], ones(6, 3)),
    "batch of matrix products": lambda maps: torch.bmm(maps[0], ones(2, 6, 3)),
    "batch of products from the left": lambda maps: torch.bmm(ones(2, 3, 8), maps[0]),
    "batch of products added": lambda maps: torch.baddbmm(maps[0, :, :, :3], maps[0], ones(2, 6, 3)),
    "linear": lambda maps: F.linear(maps.flatten(1), ones(3, 96), ones(3)),
    "linear in each position": lambda maps: F.linear(maps.permute(0, 2, 3, 1), ones(3, 2)),
    "attention": lambda maps: attention(tokens(maps)[:, None].contiguous()),
    "attention as products and softmax": lambda maps: attention(tokens(maps)[:, None]),
    "attention of other queries": lambda maps: attention(
        tokens(maps)[:, None].contiguous(), ones(1, 1, 5, 2)
    ),
    "attention to values alone": lambda maps: F.scaled_dot_product_attention(
        ones(1, 1, 5, 2), ones(1, 1, HEIGHT * WIDTH, 2), tokens(maps)[:, None].contiguous()
    ),
    "some positions after attention": lambda maps: attention(tokens(maps)[:, None].contiguous())[:, :, 3:],
    "broadcast mean": lambda maps: maps + maps.mean((0, 1)),
    "broadcast mean of rows": lambda maps: maps * maps.mean(2, keepdim=True),
    "excitation": lambda maps: F.conv2d(maps, ones(2, 2, 1, 1)) * maps.mean((2, 3), keepdim=True),
    "product of means": lambda maps: maps.mean(2)[..., None] * maps.mean(3)[:, :, None],
    "sum of branches": lambda maps: maps[:, :, 1:7] + F.conv2d(maps, ones(1, 2, 3, 1)),
}
PADDED: dict[str, Program] = {
    "padding": lambda maps: F.conv2d(maps, ones(3, 2, 3, 3), padding=1),
    "oblong": lambda maps: F.conv2d(maps, ones(3, 2, 1, 5), None, (1, 2), (0, 2), (3, 1)),
    "padding and stride": lambda maps: F.conv2d(
        F.conv2d(maps, ones(1, 2, 3, 3), None, 2, 1), ones(1, 1, 3, 2)
    ),
    "padded max pooling": lambda maps: F.max_pool2d(maps, 3, 2, 1),
    "padded average pooling": lambda maps: F.avg_pool2d(maps, (2, 3), 2, (1, 1)),
    "rounded up": lambda maps: F.avg_pool2d(maps, (3, 4), ceil_mode=True),
    "padded columns": lambda maps: F.unfold(maps, (3, 2), padding=(1, 0)),
    "zeros around": lambda maps: F.pad(maps, (1, 2, 0, 1)),
    "zeros around a strided map": lambda maps: F.pad(F.avg_pool2d(maps, (1, 2)), (1, 0, 2, 1)),
    "mean after padding": lambda maps: F.conv2d(maps, ones(3, 2, 3, 3), padding=1).mean((2, 3)),
    "excitation of a filter larger than the map": lambda maps: (
        F.conv2d(maps, ones(2, 2, 19, 1), padding=(9, 0)) * maps.mean((2, 3), keepdim=True)
    ),
    "mean over all windows": lambda maps: windows(maps).mean((0, 2, 3)),
    "broadcast mean over all windows": lambda maps: maps + windows(maps).mean((0, 2, 3))[:, None, None],
    "broadcast mean of rolled rows": lambda maps: maps + maps.roll(1, 2).mean(2, keepdim=True),
    "shortcut": lambda maps: maps[:, :, ::2, ::2] + F.conv2d(maps, ones(2, 2, 3, 3), None, 2, 1),
    "joined branches": lambda maps: torch.cat([F.avg_pool2d(maps, 5, 1, 2), maps], 1),
}
MIRRORED: dict[str, Program] = {
    "reflection": lambda maps: F.pad(maps, (1, 2, 2, 1), mode="reflect"),
    "replication": lambda maps: F.pad(maps, (1, 2, 2, 1), mode="replicate"),
}


@pytest.mark.parametrize("name", [*UNPADDED, *PADDED, *MIRRORED])
def test_receptive_field_of_a_position_is_the_pixels_that_matter_for_it(name: str) -> None:
    program = (UNPADDED | PADDED | MIRRORED)[name]
    check_each_position(program, image(), zeros_beyond=name not in MIRRORED)


@pytest.mark.parametrize("name", UNPADDED)
def test_receptive_field_of_a_sum_over_positions_is_all_pixels_that_matter(name: str) -> None:
    def summed(images: Tensor) -> Tensor:
        return UNPADDED[name](images[:, :, 1 : 1 + HEIGHT, 1 : 1 + WIDTH]).double().sum()

    assert check_each_position(summed, image(HEIGHT + 2, WIDTH + 2)).positions == (1, 1)


@pytest.mark.parametrize("shape", [(1, 3, 1, 6), (1, 1, 3, 1, 6)])
def test_receptive_field_of_one_row_remains_where_its_dimension_does(shape: tuple[int, ...]) -> None:
    def row(maps: Tensor) -> Tensor:
        return F.conv2d(maps, ones(3, 2, 10, 1), padding=(1, 0))

    _, field = traced(row, image())
    _, reshaped = traced(lambda maps: row(maps).view(shape), image())
    assert reshaped.extents == field.extents


# With the sides along which receptive fields remain known.
UNKNOWN: dict[str, tuple[Program, tuple[int, ...]]] = {
    "transposed convolution": (lambda maps: F.conv_transpose2d(maps, ones(2, 3, 2, 2), stride=2), ()),
    "convolution of positions": (lambda maps: F.conv1d(maps.flatten(2), ones(1, 2, 3)), ()),
    "filters from the image": (lambda maps: F.conv2d(ones(1, 2, 9, 9), maps), ()),
    "some of the positions": (lambda maps: maps.flatten(2)[:, :, 3:], ()),
    "one of the positions": (lambda maps: maps.flatten(2)[:, :, 7], ()),
    "some of some positions": (lambda maps: maps.flatten(2)[:, :, 3:][:, :, 2:], ()),
    "rolled columns of a row": (
        lambda maps: F.conv2d(maps, ones(3, 2, 8, 1)).view(1, 1, 3, 1, -1).roll(1, -1),
        (0,),
    ),
    "parts of the rows": (lambda maps: maps.split(4, 2)[1], (1,)),
    "one column of all": (lambda maps: maps.unbind(3)[2], (0,)),
    "rolled rows": (lambda maps: maps.roll(1, -2), (1,)),
    "rolled values": (lambda maps: maps.roll(1), ()),
    "mirrored": (lambda maps: maps.flip(3), (0,)),
    "mirrored twice": (lambda maps: maps.flip((2, 3)), ()),
    "chosen rows": (lambda maps: maps.index_select(2, torch.tensor([3, 1])), (1,)),
    "running sum": (lambda maps: maps.cumsum(2), (1,)),
    "rows by index": (lambda maps: maps[:, :, torch.arange(7, -1, -1)], ()),
    "enlarged": (lambda maps: F.interpolate(maps, scale_factor=2, mode="bilinear"), ()),
    "channels from blocks": (lambda maps: F.pixel_unshuffle(maps, 2), ()),
    "windows": (windows, ()),
    "means of windows": (lambda maps: windows(maps).mean((2, 3)), ()),
    "blocks of rows and columns": (lambda maps: maps.unflatten(3, (2, 3)).unflatten(2, (2, 4)), ()),
    "means over blocks": (lambda maps: maps.unflatten(2, (2, 4)).mean(3), (1,)),
    "joined with mirrored": (lambda maps: torch.cat([maps, maps.flip(2)], 1), (1,)),
    "joined with mirrored, other order": (lambda maps: maps.flip(2) + maps, (1,)),
    "diagonal": (lambda maps: maps.diagonal(0, 2, 3), ()),
    "places of maxima": (lambda maps: maps.argmax(2), ()),
    "linear layer of columns": (lambda maps: F.linear(maps, ones(4, 6)), (1,)),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_receptive_fields_that_are_no_windows_are_unknown(name: str) -> None:
    program, known_sides = UNKNOWN[name]
    check_each_position(program, image(), known_sides)


INFERENCE: dict[str, Program] = {
    "linear": lambda maps: F.linear(maps, ones(4, 6), ones(4)),
    "max pooling": lambda maps: F.max_pool2d(maps, 3, (1, 2)),
    "pooling of columns": lambda maps: F.avg_pool1d(maps[0], 3, 2),
    "adaptive pooling": lambda maps: F.adaptive_avg_pool2d(maps, (4, 1)),
    "softmax": lambda maps: maps.softmax(2),
    "reshaped": lambda maps: maps.reshape(1, 2, -1),
    "unflattened": lambda maps: maps.reshape(1, 2, -1).unflatten(2, (8, 6)),
    "chunk": lambda maps: maps.chunk(2, 1)[1],
    "transposed matrix": lambda maps: maps[0, 1].T,
    "attention": lambda maps: attention(maps.reshape(1, 1, 2, -1).transpose(2, 3)),
}


@pytest.mark.parametrize("name", INFERENCE)
def test_operations_that_inference_mode_leaves_whole_have_the_same_receptive_fields(name: str) -> None:
    with torch.inference_mode():
        check_each_position(INFERENCE[name], image())


@pytest.mark.parametrize(("size", "target"), [(8, 3), (8, 5), (7, 2), (5, 4), (4, 6)])
def test_receptive_field_of_adaptive_pooling_has_the_size_of_its_largest_window(
    size: int, target: int
) -> None:
    def program(maps: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(maps, (target, WIDTH))

    output, field = traced(program, image(size))
    seen = seen_pixels(program, image(size)).unflatten(2, output.shape)
    sizes = [int(seen[:, 0, 0, 0, row, 0].sum()) for row in range(target)]
    (extent, _) = field.extents
    assert extent is not None
    assert extent.size == max(sizes)


def test_all_results_of_an_operation_have_its_receptive_field() -> None:
    images = image()
    with Tracing(images) as tracing:
        pairs = [
            F.max_pool2d(images, 2, return_indices=True),
            torch.var_mean(images, 2),
            images.split(1, 1),
        ]
    for one, other in pairs:
        assert tracing.tracer.field_of(one) is not None
        assert tracing.tracer.field_of(one) == tracing.tracer.field_of(other)


def test_statistics_of_normalization_are_not_counted_and_have_no_sides() -> None:
    images = image()
    with Tracing(images) as tracing:
        maps = F.conv2d(images, ones(3, 2, 3, 3))
        normalized, mean, _ = torch.native_batch_norm(maps, None, None, None, None, True, 0.0, 1e-5)
        layer = F.layer_norm(maps, maps.shape[1:])
    fields = [tracing.tracer.field_of(tensor) for tensor in (maps, normalized, layer)]
    assert fields[0] is not None
    assert fields == fields[:1] * 3
    statistics = tracing.tracer.field_of(mean)
    assert statistics is not None
    assert statistics.axes == (frozenset(),)


def test_values_that_do_not_depend_on_the_image_have_no_receptive_field() -> None:
    with Tracing(image()) as tracing:
        constant = ones(2, 3) @ ones(3, 2)
    assert tracing.tracer.field_of(constant) is None


@pytest.mark.parametrize(
    ("program", "shape"),
    [
        (lambda maps: maps.flatten(1), (2, 8, 6)),
        (lambda maps: maps.flatten(2).flatten(1).relu(), (2, 8, 6)),
        (lambda maps: F.max_pool2d(maps, (8, 6)).flatten(1), (2, 1, 1)),
        (lambda maps: maps.flatten(2), None),
        (lambda maps: maps.mT.flatten(1), None),
        (lambda maps: maps.flatten(1).softmax(1), None),
        (lambda maps: maps.mean((2, 3)), None),
    ],
)
def test_vector_knows_the_map_it_was_flattened_from(program: Program, shape: tuple[int, ...] | None) -> None:
    assert traced(program, image())[1].flattened_from == shape


PRODUCTS: dict[str, Program] = {
    "convolution": lambda maps: F.conv2d(maps, ones(6, 1, 3, 2), None, 2, groups=2),
    "transposed convolution": lambda maps: F.conv_transpose2d(maps, ones(2, 3, 3, 2), None, 2),
    "matrix product": lambda maps: maps[0, 0] @ ones(6, 3),
    "matrix product added": lambda maps: F.linear(maps[0, 0], ones(5, 6), ones(5)),
    "batch of matrix products": lambda maps: torch.bmm(maps[0], ones(2, 6, 3)),
    "batch of products added": lambda maps: torch.baddbmm(ones(3), maps[0], ones(2, 6, 3)),
    "sum": lambda maps: maps + 1,
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_multiply_adds_of_an_operation_are_half_of_torchs_operations(name: str) -> None:
    with FlopCounterMode(display=False) as counter:
        PRODUCTS[name](image())
    with Tracing(image()) as tracing:
        PRODUCTS[name](image())
    assert 2 * tracing.multiply_adds == counter.get_total_flops()


@pytest.mark.parametrize("inference", [False, True])
def test_multiply_adds_of_attention_are_those_of_its_two_products(inference: bool) -> None:
    query, key, value = ones(1, 2, 3, 4), ones(1, 2, 5, 4), ones(1, 2, 5, 6 if inference else 4)
    with FlopCounterMode(display=False) as counter:
        _ = query @ key.mT @ value
    with torch.inference_mode(inference), Tracing(image()) as tracing:
        F.scaled_dot_product_attention(query, key, value)
    assert 2 * tracing.multiply_adds == counter.get_total_flops()


def test_multiply_adds_of_a_linear_layer_that_inference_mode_leaves_whole() -> None:
    layer = nn.Linear(4, 5)
    with FlopCounterMode(display=False) as counter:
        layer(torch.ones(7, 3, 4))
    with torch.inference_mode(), Tracing(image()) as tracing:
        layer(torch.ones(7, 3, 4))
    assert 2 * tracing.multiply_adds == counter.get_total_flops()


def last_row(network: nn.Module, channels: int, side: int) -> LayerCost:
    return layer_table(network, channels, (side, side))[-1]


class Branches(nn.Module):
    """Parallel branches of a 1x1, two 3x3 and a pooling layer, as in Inception."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Conv2d(1, 1, 1)
        self.two = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.Conv2d(1, 1, 3, padding=1))
        self.pool = nn.AvgPool2d(3, 1, 1)

    def forward(self, maps: Tensor) -> Tensor:
        return torch.cat([self.one(maps), self.two(maps), self.pool(maps)], 1)


class Residual(nn.Module):
    """A 5x5 convolution of stride 2 added to every second pixel of the map."""

    def __init__(self) -> None:
        super().__init__()
        self.change = nn.Conv2d(1, 1, 5, 2, 2)
        self.shortcut = shared_layers.ZeroPadShortcut(1, 1, 2)

    def forward(self, maps: Tensor) -> Tensor:
        return self.change(maps) + self.shortcut(maps)


class Excitation(nn.Module):
    """Maps scaled by their means, as in squeeze and excitation."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, maps: Tensor) -> Tensor:
        maps = self.conv(maps)
        return maps * maps.mean((2, 3), keepdim=True)


class Tokens(nn.Module):
    """Maps as rows of positions, a 1x1 convolution written as a linear layer on them, and back."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3, 3)
        self.linear = nn.Linear(2, 2)

    def forward(self, maps: Tensor) -> Tensor:
        maps = self.conv(maps)
        rows = self.linear(maps.flatten(2).transpose(1, 2))
        return rows.transpose(1, 2).unflatten(2, tuple(maps.shape[2:]))


SIDE = 33
NETWORKS: dict[str, Any] = {
    "two 3x3": lambda: nn.Sequential(nn.Conv2d(1, 1, 3), nn.Conv2d(1, 1, 3)),
    "three 3x3": lambda: nn.Sequential(*[nn.Conv2d(1, 1, 3, padding=1) for _ in range(3)]),
    "dilation": lambda: nn.Sequential(nn.Conv2d(1, 1, 3), nn.Conv2d(1, 1, 3, dilation=2)),
    "strides": lambda: nn.Sequential(nn.Conv2d(1, 1, 5, 2, 1), nn.AvgPool2d(3, 2), nn.Conv2d(1, 1, 3)),
    "oblong": lambda: nn.Sequential(nn.Conv2d(1, 1, (1, 5), (1, 2)), nn.Conv2d(1, 1, (3, 1), padding=(1, 0))),
    "branches": Branches,
    "residual": lambda: nn.Sequential(Residual(), nn.Conv2d(1, 1, 3)),
    "excitation": Excitation,
    "tokens": Tokens,
    "unit": lambda: shared_layers.ConvUnit(1, 2, 3, dilation=2, activation_name="maxout"),
    "local": lambda: nn.Sequential(
        shared_layers.LocallyConnected2d(1, 2, 3, (SIDE, SIDE), 2),
        shared_layers.L2Pool2d(2, 2),
        nn.Conv2d(2, 1, 3),
    ),
    "response norm": lambda: nn.Sequential(
        nn.Conv2d(1, 6, 3), shared_layers.response_norm(), nn.Conv2d(6, 1, 3)
    ),
    "linear": lambda: nn.Sequential(nn.Conv2d(1, 1, 3), nn.Flatten(), nn.Linear((SIDE - 2) ** 2, 3)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_receptive_field_is_the_extent_of_the_gradient_of_a_central_output(name: str) -> None:
    network = NETWORKS[name]().double()
    for weight in network.parameters():
        nn.init.uniform_(weight, 0.1, 1)  # positive, so that nothing cancels
    images = torch.rand(1, 1, SIDE, SIDE, dtype=torch.float64, requires_grad=True)
    outputs = network(images)
    center = outputs
    if outputs.ndim == 4:
        center = outputs[:, :, outputs.shape[2] // 2, outputs.shape[3] // 2]
    (gradient,) = torch.autograd.grad(center.sum(), images)
    rows, columns = (gradient[0, 0].abs() > 1e-12).nonzero(as_tuple=True)
    field = tuple(int(indices.max() - indices.min()) + 1 for indices in (rows, columns))

    if outputs.ndim == 4:
        # Concatenated branches have no row; a 1x1 after them has their receptive field.
        network = nn.Sequential(network, nn.Conv2d(outputs.shape[1], 1, 1).double())
    assert last_row(network, 1, SIDE).receptive_field == field


def test_receptive_field_of_global_pooling_is_the_image_without_unseen_rows() -> None:
    pooled = nn.Sequential(nn.Conv2d(1, 1, 3, 2), nn.AdaptiveAvgPool2d(1))
    assert last_row(pooled, 1, 9).receptive_field == (9, 9)
    assert last_row(pooled, 1, 10).receptive_field == (9, 9)  # (10 - 3)/2 is no integer
