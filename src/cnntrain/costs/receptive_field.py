"""Receptive fields of a network's activations (L9), traced through torch's operations one by one.

The receptive field of a position in a feature map is a window of the image. It is stored as the window of
position 0 and the stride between the windows of neighboring positions. A window operation with filter F,
stride S, padding P and dilation d maps (first, last, stride) to

    first - P·stride        last + (d·(F - 1) - P)·stride        S·stride

so two 3x3 convolutions have a receptive field of 5x5, three one of 7x7. Where branches are joined, the union
of their receptive fields counts. An operation that sums over all positions (a linear layer, a mean over
space, attention) has the union of the receptive fields of all positions, usually the whole image.
By convention the statistics of normalization layers are not counted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from ..model.feature_map_sizes import Window

Arguments = dict[str, Any]
Axes = tuple[frozenset[int], ...]
NEITHER: frozenset[int] = frozenset()
HEIGHT, WIDTH, BOTH = frozenset((0,)), frozenset((1,)), frozenset((0, 1))


@dataclass(frozen=True)
class Extent:
    """Receptive field along one side: position i depends on pixels first + i·stride to last + i·stride.

    Stride 0: all positions have the same receptive field.
    """

    first: int
    last: int
    stride: int

    @property
    def size(self) -> int:
        """Number of pixels in the receptive field of one position, zero padding included."""
        return self.last - self.first + 1


@dataclass(frozen=True)
class ReceptiveField:
    """Receptive fields of the values of a tensor.

    axes: for each dimension of the tensor, the sides of the image (0 height, 1 width) that run along it;
    both where height and width are flattened into one dimension. extents: by side, None where unknown.
    positions: number of positions by side. origin: shape and axes of the tensor before flattening,
    needed where it is unflattened again.
    """

    axes: Axes
    extents: tuple[Extent | None, Extent | None]
    positions: tuple[int, int]
    origin: tuple[tuple[int, ...], Axes] | None = None

    @property
    def flattened_from(self) -> tuple[int, ...] | None:
        """Shape (C, H, W) of the feature map flattened into this vector, None for any other tensor."""
        if self.origin is None or len(self.axes) != 2 or self.origin[1][2:] != (HEIGHT, WIDTH):
            return None
        return self.origin[0][1:]


class ReceptiveFieldTracer:
    """Stores the receptive field of every tensor that depends on the image; call `trace` per operation."""

    def __init__(self, images: Tensor):
        height, width = images.shape[-2:]
        self.image_size = (height, width)
        self._fields = WeakTensorKeyDictionary()
        pixel = Extent(0, 0, 1)
        self._fields[images] = ReceptiveField(
            (NEITHER, NEITHER, HEIGHT, WIDTH), (pixel, pixel), self.image_size
        )

    def field_of(self, tensor: Tensor) -> ReceptiveField | None:
        """Return the receptive field of a tensor's values, None if they do not depend on the image."""
        field: ReceptiveField | None = self._fields.get(tensor)  # type: ignore[no-untyped-call]
        return field

    def trace(self, operation: str, arguments: Arguments, result: Any) -> None:
        """Record the receptive fields of the outputs of one torch operation; arguments: by name."""
        outputs = list(tensors_in(result))
        inputs = [
            tensor for tensor in tensors_in(list(arguments.values())) if self.field_of(tensor) is not None
        ]
        if not inputs or not outputs:
            return
        rule = RULES.get(operation, ReceptiveFieldTracer._elementwise)
        if "scaled_dot_product" in operation:
            rule = ReceptiveFieldTracer._attention
        field = rule(self, arguments, inputs, outputs[0])
        if rule not in (ReceptiveFieldTracer._elementwise, ReceptiveFieldTracer._view):
            field = replace(field, origin=None)
        for output in outputs:
            # Other outputs are indices, masks and statistics, or further parts of the same feature map.
            same_axes = output.ndim == len(field.axes)
            self._fields[output] = field if same_axes else replace(field, axes=(NEITHER,) * output.ndim)

    def _elementwise(self, arguments: Arguments, inputs: list[Tensor], output: Tensor) -> ReceptiveField:
        """Elementwise operation after broadcasting; the default for operations not in RULES."""
        fields = [self._broadcast(tensor, output) for tensor in inputs]
        field = fields[0]
        for other in fields[1:]:
            field = self._union(field, other, _union_axes(field.axes, other.axes))
        return field

    def _broadcast(self, tensor: Tensor, output: Tensor) -> ReceptiveField:
        """Return the field of a tensor with its dimensions aligned from the right with those of `output`."""
        field = self._known_field(tensor)
        missing = output.ndim - tensor.ndim
        if missing < 0 or any(
            size not in (1, target) for size, target in zip(tensor.shape, output.shape[missing:], strict=True)
        ):
            return ReceptiveField((NEITHER,) * output.ndim, (None, None), (1, 1))
        for dim, size in enumerate(tensor.shape):
            if size == 1 and output.shape[missing + dim] > 1:
                field = self._summed(field, [dim])
        return replace(field, axes=(NEITHER,) * missing + field.axes)

    def _known_field(self, tensor: Tensor) -> ReceptiveField:
        field = self.field_of(tensor)
        assert field is not None
        return field

    def _summed(self, field: ReceptiveField, dims: Iterable[int]) -> ReceptiveField:
        """Return the field after a sum over `dims`, which remain as dimensions of size 1."""
        axes, extents, positions = list(field.axes), list(field.extents), list(field.positions)
        summed = set(dims)
        for dim in summed:
            for side in axes[dim]:
                extent, end = extents[side], self.image_size[side] - 1
                if extent is None:
                    # A side split into several dimensions (windows) may be summed over some of them.
                    remaining = (sides for other, sides in enumerate(field.axes) if other not in summed)
                    extents[side] = None if any(side in sides for sides in remaining) else Extent(0, end, 0)
                else:
                    last = extent.last + (positions[side] - 1) * extent.stride
                    extents[side] = Extent(max(0, extent.first), min(end, last), 0)
                positions[side] = 1
            axes[dim] = NEITHER
        return ReceptiveField(tuple(axes), (extents[0], extents[1]), (positions[0], positions[1]))

    def _union(self, one: ReceptiveField, other: ReceptiveField, axes: Axes) -> ReceptiveField:
        """Return the union of the receptive fields of two tensors."""
        extents: list[Extent | None] = []
        for side, size in enumerate(self.image_size):
            first, second = one.extents[side], other.extents[side]
            if first is None or second is None:
                extents.append(None)
                continue
            start, last = min(first.first, second.first), max(first.last, second.last)
            if 0 in (first.stride, second.stride):  # one of the two is common to all positions
                for field in (one, other):
                    extent = field.extents[side]
                    assert extent is not None
                    last = max(last, extent.last + (field.positions[side] - 1) * extent.stride)
                extents.append(Extent(max(0, start), min(size - 1, last), 0))
            else:
                extents.append(Extent(start, last, max(first.stride, second.stride)))
        positions = max(one.positions[0], other.positions[0]), max(one.positions[1], other.positions[1])
        return ReceptiveField(axes, (extents[0], extents[1]), positions, one.origin)

    def _window(self, arguments: Arguments, inputs: list[Tensor], output: Tensor) -> ReceptiveField:
        tensor = arguments.get("input", arguments.get("self"))
        if arguments.get("transposed") or not isinstance(tensor, Tensor) or self.field_of(tensor) is None:
            return ReceptiveField((NEITHER,) * output.ndim, (None, None), (1, 1))
        field, windows = self._known_field(tensor), windows_of(arguments)
        extents, positions = list(field.extents), list(field.positions)
        for window, dim in zip(reversed(windows), reversed(range(tensor.ndim)), strict=False):
            for side in field.axes[dim]:
                extents[side] = apply_window(extents[side], window) if len(field.axes[dim]) == 1 else None
                positions[side] = (
                    output.shape[dim] if output.ndim == tensor.ndim else window.output(positions[side])
                )
        # The output of im2col has the shape (N, C·F·F, positions).
        axes = field.axes if output.ndim == tensor.ndim else (NEITHER, NEITHER, BOTH)
        return ReceptiveField(axes, (extents[0], extents[1]), (positions[0], positions[1]))

    def _adaptive_pool(self, arguments: Arguments, inputs: list[Tensor], output: Tensor) -> ReceptiveField:
        field = self._known_field(inputs[0])
        extents, positions = list(field.extents), list(field.positions)
        for dim in (-2, -1):
            size, target = inputs[0].shape[dim], output.shape[dim]
            if target == 1:
                pooled = replace(
                    field, extents=(extents[0], extents[1]), positions=(positions[0], positions[1])
                )
                field = self._summed(pooled, [positive_dim(field, dim)])
                extents, positions = list(field.extents), list(field.positions)
                continue
            for side in field.axes[dim]:
                # Windows have one size where the sizes divide, else two: take the larger.
                kernel_size = max(-(-(i + 1) * size // target) - i * size // target for i in range(target))
                extents[side] = apply_window(extents[side], Window(kernel_size, max(1, size // target)))
                positions[side] = target
        return ReceptiveField(field.axes, (extents[0], extents[1]), (positions[0], positions[1]))

    def _reduction(self, arguments: Arguments, inputs: list[Tensor], output: Tensor) -> ReceptiveField:
        dims = _dims_of(arguments, inputs[0].ndim)
        field = self._summed(self._known_field(inputs[0]), dims)
        if arguments.get("keepdim"):
            return field
        return replace(field, axes=tuple(axes for dim, axes in enumerate(field.axes) if dim not in dims))

    def _softmax(self, arguments: Arguments, inputs: list[Tensor], output: Tensor) -> ReceptiveField:
        field = self._known_field(inputs[0])
        dims = _dims_of(arguments, inputs[0].ndim)
        return replace(self._summed(field, dims), axes=field.axes, positions=field.positions)

    def _view(self, arguments: Arguments, inputs: list[Tensor], output: Tensor) -> ReceptiveField:
        field, old = self._known_field(inputs[0]), tuple(inputs[0].shape)
        if field.origin is not None:
            old, axes = field.origin
            field = replace(field, axes=axes, origin=None)
        return self._reshaped(field, old, tuple(output.shape))

    def _reshaped(self, field: ReceptiveField, old: tuple[int, ...], new: tuple[int, ...]) -> ReceptiveField:
        """Return the field after dimensions `old` were merged or split into dimensions `new`.

        A removed dimension of size 1 held the only position of its side.
        """
        current = field
        removed = [dim for dim, size in enumerate(old) if size == 1 and field.axes[dim]]
        if removed and len(new) < len(old):
            current = self._summed(field, removed)
        sources = [dim for dim, size in enumerate(old) if size > 1]
        targets = [dim for dim, size in enumerate(new) if size > 1]
        axes, extents = [NEITHER] * len(new), list(current.extents)
        while sources:
            from_dims, to_dims = [sources.pop(0)], [targets.pop(0)]
            sizes = [old[from_dims[0]], new[to_dims[0]]]
            while sizes[0] != sizes[1]:
                if sizes[0] < sizes[1]:
                    from_dims.append(sources.pop(0))
                    sizes[0] *= old[from_dims[-1]]
                else:
                    to_dims.append(targets.pop(0))
                    sizes[1] *= new[to_dims[-1]]
            sides = frozenset().union(*(current.axes[dim] for dim in from_dims))
            parts = tuple(new[dim] for dim in to_dims)
            if sides == BOTH and len(from_dims) == 1 and parts == current.positions:
                axes[to_dims[0]], axes[to_dims[1]] = HEIGHT, WIDTH
                continue
            for dim in to_dims:
                axes[dim] = sides
            if len(to_dims) > 1:
                for side in sides:
                    extents[side] = None
        if removed and len(new) >= len(old):
            # With as many or more dimensions, those of size 1 keep their index counted from the right.
            for dim in removed:
                axes[dim - len(old)] = field.axes[dim]
        origin = (old, field.axes) if len(new) < len(old) and any(field.axes) else None
        return ReceptiveField(tuple(axes), (extents[0], extents[1]), current.positions, origin)

    def _permuted(self, arguments: Arguments, inputs: list[Tensor], output: Tensor) -> ReceptiveField:
        field = self._known_field(inputs[0])
        count = inputs[0].ndim
        if "dims" in arguments:
            order = [dim % count for dim in arguments["dims"]]
        else:
            one, other = arguments.get("dim0", 0) % count, arguments.get("dim1", 1) % count
            order = list(range(count))
            order[one], order[other] = other, one
        return replace(field, axes=tuple(field.axes[dim] for dim in order))

    def _unsqueezed(self, arguments: Arguments, inputs: list[Tensor], output: Tensor) -> ReceptiveField:
        field = self._known_field(inputs[0])
        axes = list(field.axes)
        axes.insert(arguments["dim"] % output.ndim, NEITHER)
        return replace(field, axes=tuple(axes))

    def _squeezed(self, arguments: Arguments, inputs: list[Tensor], output: Tensor) -> ReceptiveField:
        shape = inputs[0].shape
        dims = _dims_of(arguments, len(shape))
        removed = [dim for dim in dims if shape[dim] == 1]
        field = self._summed(self._known_field(inputs[0]), removed)
        return replace(field, axes=tuple(axes for dim, axes in enumerate(field.axes) if dim not in removed))

    def _expanded(self, arguments: Arguments, inputs: list[Tensor], output: Tensor) -> ReceptiveField:
        return self._broadcast(inputs[0], output)

    def _sliced(self, arguments: Arguments, inputs: list[Tensor], output: Tensor) -> ReceptiveField:
        field = self._known_field(inputs[0])
        dim = arguments["dim"] % inputs[0].ndim
        indices = slice(arguments["start"], None, arguments["step"]).indices(inputs[0].shape[dim])
        start, _, step = indices
        return self._reindexed(field, dim, start, step, output.shape[dim])

    def _reindexed(
        self, field: ReceptiveField, dim: int, start: int, step: int, new_size: int
    ) -> ReceptiveField:
        """Return the field where position i of `dim` is the former position start + i·step."""
        extents, positions = list(field.extents), list(field.positions)
        for side in field.axes[dim]:
            extent = extents[side]
            if extent is not None and len(field.axes[dim]) == 1:
                shift = start * extent.stride
                extents[side] = Extent(extent.first + shift, extent.last + shift, extent.stride * step)
                positions[side] = new_size
            elif extent is not None and extent.stride:
                extents[side] = None
        return ReceptiveField(field.axes, (extents[0], extents[1]), (positions[0], positions[1]))

    def _selected(self, arguments: Arguments, inputs: list[Tensor], output: Tensor) -> ReceptiveField:
        field = self._known_field(inputs[0])
        dim = arguments["dim"] % inputs[0].ndim
        field = self._reindexed(field, dim, arguments["index"] % inputs[0].shape[dim], 0, 1)
        return replace(field, axes=field.axes[:dim] + field.axes[dim + 1 :])

    def _split(self, arguments: Arguments, inputs: list[Tensor], output: Tensor) -> ReceptiveField:
        field = self._known_field(inputs[0])
        dim = arguments["dim"] % inputs[0].ndim
        field = self._with_unknown_extents(field, field.axes[dim])
        return field if output.ndim == inputs[0].ndim else replace(field, axes=_drop_dim(field.axes, dim))

    def _with_unknown_extents(self, field: ReceptiveField, sides: Iterable[int]) -> ReceptiveField:
        extents = list(field.extents)
        for side in sides:
            extents[side] = None
        return replace(field, extents=(extents[0], extents[1]))

    def _reordered(self, arguments: Arguments, inputs: list[Tensor], output: Tensor) -> ReceptiveField:
        """Reordered positions: adjacent ones no longer cover a window of the image."""
        field = self._known_field(inputs[0])
        return self._with_unknown_extents(
            field, [side for dim in _dims_of(arguments, len(field.axes)) for side in field.axes[dim]]
        )

    def _concatenated(self, arguments: Arguments, inputs: list[Tensor], output: Tensor) -> ReceptiveField:
        fields = [self._known_field(tensor) for tensor in inputs]
        field = fields[0]
        for other in fields[1:]:
            field = self._union(field, other, field.axes)
        return field

    def _stacked(self, arguments: Arguments, inputs: list[Tensor], output: Tensor) -> ReceptiveField:
        field = self._concatenated(arguments, inputs, output)
        axes = list(field.axes)
        axes.insert(arguments["dim"] % output.ndim, NEITHER)
        return replace(field, axes=tuple(axes))

    def _padded(self, arguments: Arguments, inputs: list[Tensor], output: Tensor) -> ReceptiveField:
        field = self._known_field(inputs[0])
        pads = arguments["pad"] if "pad" in arguments else arguments["padding"]
        for index in range(0, len(pads), 2):
            dim = inputs[0].ndim - 1 - index // 2
            field = (
                self._reindexed(field, dim, -pads[index], 1, output.shape[dim]) if field.axes[dim] else field
            )
        return field

    def _matrix_product(self, arguments: Arguments, inputs: list[Tensor], output: Tensor) -> ReceptiveField:
        """Matrix product of (…, m, k) and (…, k, n), a sum over k."""
        left, right = (arguments[name] for name in _factor_names(arguments))
        fields = []
        for tensor, summed in ((left, -1), (right, -2)):
            field = self.field_of(tensor)
            if field is None:
                continue
            fields.append(replace(self._summed(field, [tensor.ndim + summed]), origin=None))
        bias = arguments.get("self") if "mat1" in arguments or "batch1" in arguments else None
        if isinstance(bias, Tensor) and self.field_of(bias) is not None:
            fields.append(self._broadcast(bias, output))
        field = fields[0]
        for other in fields[1:]:
            field = self._union(field, other, _union_axes(field.axes, other.axes))
        return field

    def _linear(self, arguments: Arguments, inputs: list[Tensor], output: Tensor) -> ReceptiveField:
        return self._summed(self._known_field(inputs[0]), [inputs[0].ndim - 1])

    def _attention(self, arguments: Arguments, inputs: list[Tensor], output: Tensor) -> ReceptiveField:
        """Every query attends to all keys: a sum over dimension -2, which keeps its size."""
        field = self._known_field(inputs[0])
        summed = self._summed(field, [len(field.axes) - 2])
        return replace(summed, axes=field.axes, positions=field.positions)

    def _resized(self, arguments: Arguments, inputs: list[Tensor], output: Tensor) -> ReceptiveField:
        return self._with_unknown_extents(self._known_field(inputs[0]), (0, 1))


RULES: dict[str, Callable[[ReceptiveFieldTracer, Arguments, list[Tensor], Tensor], ReceptiveField]] = {
    **dict.fromkeys(("convolution", "_convolution", "im2col"), ReceptiveFieldTracer._window),
    **dict.fromkeys(
        ("max_pool2d_with_indices", "avg_pool2d", "max_pool2d", "mkldnn_max_pool2d"),
        ReceptiveFieldTracer._window,
    ),
    **dict.fromkeys(("avg_pool3d", "max_pool3d_with_indices", "avg_pool1d"), ReceptiveFieldTracer._window),
    **dict.fromkeys(
        ("_adaptive_avg_pool2d", "adaptive_avg_pool2d", "adaptive_max_pool2d"),
        ReceptiveFieldTracer._adaptive_pool,
    ),
    **dict.fromkeys(
        ("mean", "sum", "amax", "amin", "max", "min", "std", "var", "var_mean"),
        ReceptiveFieldTracer._reduction,
    ),
    **dict.fromkeys(("linalg_vector_norm", "norm", "logsumexp", "prod"), ReceptiveFieldTracer._reduction),
    **dict.fromkeys(("_softmax", "_log_softmax", "_safe_softmax", "softmax"), ReceptiveFieldTracer._softmax),
    **dict.fromkeys(
        ("view", "_unsafe_view", "reshape", "_reshape_alias", "unflatten"), ReceptiveFieldTracer._view
    ),
    **dict.fromkeys(("permute", "transpose", "t", "numpy_T"), ReceptiveFieldTracer._permuted),
    **dict.fromkeys(("mm", "addmm", "bmm", "baddbmm"), ReceptiveFieldTracer._matrix_product),
    **dict.fromkeys(
        ("split", "split_with_sizes", "chunk", "unbind", "unsafe_split"), ReceptiveFieldTracer._split
    ),
    **dict.fromkeys(
        ("roll", "flip", "index_select", "gather", "sort", "cumsum", "cumprod"),
        ReceptiveFieldTracer._reordered,
    ),
    **dict.fromkeys(
        ("constant_pad_nd", "reflection_pad2d", "replication_pad2d"), ReceptiveFieldTracer._padded
    ),
    **dict.fromkeys(
        ("upsample_bilinear2d", "upsample_nearest2d", "upsample_bicubic2d", "index", "grid_sampler_2d"),
        ReceptiveFieldTracer._resized,
    ),
    "unsqueeze": ReceptiveFieldTracer._unsqueezed,
    "squeeze": ReceptiveFieldTracer._squeezed,
    "expand": ReceptiveFieldTracer._expanded,
    "slice": ReceptiveFieldTracer._sliced,
    "select": ReceptiveFieldTracer._selected,
    "cat": ReceptiveFieldTracer._concatenated,
    "stack": ReceptiveFieldTracer._stacked,
    "linear": ReceptiveFieldTracer._linear,
}


def tensors_in(value: Any) -> Iterable[Tensor]:
    """Yield the tensors in a value or in nested lists, tuples and dictionaries."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for entry in value:
            yield from tensors_in(entry)
    elif isinstance(value, dict):
        yield from tensors_in(list(value.values()))


def arguments_of(function: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Arguments:
    """Return the arguments of a call of a torch operation by name, defaults included."""
    arguments = {}
    for index, argument in enumerate(function._schema.arguments):
        if index < len(args):
            arguments[argument.name] = args[index]
        elif argument.name in kwargs:
            arguments[argument.name] = kwargs[argument.name]
        elif argument.has_default_value():
            arguments[argument.name] = argument.default_value
    return arguments


def windows_of(arguments: Arguments) -> list[Window]:
    """Return the windows of a convolution or pooling, one for each of the last dimensions of its input."""
    weight = arguments.get("weight")
    kernel = list(weight.shape[2:]) if isinstance(weight, Tensor) else list(arguments["kernel_size"])
    count = len(kernel)
    stride = list(arguments.get("stride") or kernel)
    padding, dilation = list(arguments["padding"]), list(arguments.get("dilation") or [1])
    by_dim = [values * count if len(values) == 1 else values for values in (stride, padding, dilation)]
    return [Window(*values) for values in zip(kernel, *by_dim, strict=True)]


def apply_window(extent: Extent | None, window: Window) -> Extent | None:
    """Return the extent after a window operation on a feature map with this extent."""
    if extent is None:
        return None
    first = extent.first - window.padding * extent.stride
    last = extent.last + (window.effective_size - 1 - window.padding) * extent.stride
    return Extent(first, last, extent.stride * window.stride)


def positive_dim(field: ReceptiveField, dim: int) -> int:
    """Return a dimension as an index counted from the left."""
    return dim % len(field.axes)


def _union_axes(one: Axes, other: Axes) -> Axes:
    return tuple(a | b for a, b in zip(one, other, strict=True))


def _drop_dim(axes: Axes, dim: int) -> Axes:
    return axes[:dim] + axes[dim + 1 :]


def _dims_of(arguments: Arguments, count: int) -> list[int]:
    """Return the dimensions an operation is applied to, counted from the left; all of them by default."""
    dims = arguments.get("dim", arguments.get("dims"))
    if dims is None or dims == []:
        return list(range(count))
    return [dim % count for dim in (dims if isinstance(dims, list | tuple) else [dims])]


def _factor_names(arguments: Arguments) -> tuple[str, str]:
    """Return the argument names of the two matrices of a matrix product."""
    if "mat1" in arguments:
        return "mat1", "mat2"
    return ("batch1", "batch2") if "batch1" in arguments else ("self", "mat2")


def multiply_adds(operation: str, arguments: Arguments, result: Any) -> int:
    """Return the number of multiply-adds of one operation: convolutions and matrix products, else 0."""
    if operation in ("convolution", "_convolution"):
        weight = arguments["weight"]
        maps = arguments["input"] if arguments.get("transposed") else result
        return int(maps.numel() * math.prod(weight.shape[1:]))
    if operation in ("mm", "addmm", "bmm", "baddbmm"):
        return int(result.numel() * arguments[_factor_names(arguments)[0]].shape[-1])
    if operation == "linear":
        return int(result.numel() * arguments["input"].shape[-1])
    if "scaled_dot_product" in operation:
        query, key, value = arguments["query"], arguments["key"], arguments["value"]
        return int(query.shape[:-1].numel() * key.shape[-2] * (query.shape[-1] + value.shape[-1]))
    return 0
