"""What each value of a network sees of the image (L9), followed through torch's operations one by one.

A position of a map sees a window of the image. The window of position 0 and the distance from one
position's window to the next are enough for all positions. A window operation with filter F, stride S,
padding P and dilation d turns (first, last, stride) into

    first - P·stride        last + (d·(F - 1) - P)·stride        S·stride

so two 3x3 see 5x5, three see 7x7. Where branches meet, the larger reach counts. What sums over all places
(a linear layer, a mean over space, attention) sees what all of them see together, which is the whole
image as a rule. The statistics of normalization layers are not counted, as nobody counts them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from ..model.sizes import Window

Arguments = dict[str, Any]
Axes = tuple[frozenset[int], ...]
NONE: frozenset[int] = frozenset()
HEIGHT, WIDTH, BOTH = frozenset((0,)), frozenset((1,)), frozenset((0, 1))


@dataclass(frozen=True)
class Span:
    """Along one side: position i sees the pixels from first + i·stride to last + i·stride.

    Stride 0 is for what all positions see alike.
    """

    first: int
    last: int
    stride: int

    @property
    def size(self) -> int:
        """How many pixels a position sees, those of the zero padding included."""
        return self.last - self.first + 1


@dataclass(frozen=True)
class Seen:
    """What the values of a tensor see.

    axes: of each dimension of the tensor, which sides of the image (0 its height, 1 its width) run along
    it; both do where a map is laid out as one row of places. spans: by side, None where it cannot be
    told. places: how many positions there are by side. origin: shape and axes of the map that was laid
    out as a vector, for whoever takes the vector apart again.
    """

    axes: Axes
    spans: tuple[Span | None, Span | None]
    places: tuple[int, int]
    origin: tuple[tuple[int, ...], Axes] | None = None

    @property
    def flattened(self) -> tuple[int, ...] | None:
        """The map (C, H, W) that a vector was made of, None for what is no such vector."""
        if self.origin is None or len(self.axes) != 2 or self.origin[1][2:] != (HEIGHT, WIDTH):
            return None
        return self.origin[0][1:]


class Follower:
    """Keeps what every tensor sees that depends on the image; `follow` is told each operation."""

    def __init__(self, images: Tensor):
        height, width = images.shape[-2:]
        self.image = (height, width)
        self._seen = WeakTensorKeyDictionary()
        pixel = Span(0, 0, 1)
        self._seen[images] = Seen((NONE, NONE, HEIGHT, WIDTH), (pixel, pixel), self.image)

    def seen(self, tensor: Tensor) -> Seen | None:
        """Return what a tensor's values see, None for one that does not depend on the image."""
        found: Seen | None = self._seen.get(tensor)  # type: ignore[no-untyped-call]
        return found

    def follow(self, operation: str, given: Arguments, result: Any) -> None:
        """Take note of one operation of torch: its name, its arguments by name, what it returned."""
        outputs = list(tensors_in(result))
        inputs = [tensor for tensor in tensors_in(list(given.values())) if self.seen(tensor) is not None]
        if not inputs or not outputs:
            return
        rule = RULES.get(operation, Follower._joined)
        if "scaled_dot_product" in operation:
            rule = Follower._attention
        seen = rule(self, given, inputs, outputs[0])
        if rule not in (Follower._joined, Follower._view):
            seen = replace(seen, origin=None)
        for output in outputs:
            # The other outputs are indices, masks and statistics, or further parts of the same map.
            same = output.ndim == len(seen.axes)
            self._seen[output] = seen if same else replace(seen, axes=(NONE,) * output.ndim)

    def _joined(self, given: Arguments, inputs: list[Tensor], output: Tensor) -> Seen:
        """Element by element, after broadcasting; also for all that is not listed in RULES."""
        parts = [self._broadcast(tensor, output) for tensor in inputs]
        seen = parts[0]
        for other in parts[1:]:
            seen = self._both(seen, other, _united(seen.axes, other.axes))
        return seen

    def _broadcast(self, tensor: Tensor, output: Tensor) -> Seen:
        """Return what a tensor sees, its dimensions aligned with those of an output from the right."""
        seen = self._of(tensor)
        missing = output.ndim - tensor.ndim
        if missing < 0 or any(
            size not in (1, target) for size, target in zip(tensor.shape, output.shape[missing:], strict=True)
        ):
            return Seen((NONE,) * output.ndim, (None, None), (1, 1))
        for dim, size in enumerate(tensor.shape):
            if size == 1 and output.shape[missing + dim] > 1:
                seen = self._collapsed(seen, [dim])
        return replace(seen, axes=(NONE,) * missing + seen.axes)

    def _of(self, tensor: Tensor) -> Seen:
        seen = self.seen(tensor)
        assert seen is not None
        return seen

    def _collapsed(self, seen: Seen, dims: Iterable[int]) -> Seen:
        """Return what is seen after a sum over dimensions, which stay with one place each."""
        axes, spans, places = list(seen.axes), list(seen.spans), list(seen.places)
        summed = set(dims)
        for dim in summed:
            for side in axes[dim]:
                span, end = spans[side], self.image[side] - 1
                if span is None:
                    # A side that was cut into windows may be summed window by window.
                    rest = (others for other, others in enumerate(seen.axes) if other not in summed)
                    spans[side] = None if any(side in others for others in rest) else Span(0, end, 0)
                else:
                    last = span.last + (places[side] - 1) * span.stride
                    spans[side] = Span(max(0, span.first), min(end, last), 0)
                places[side] = 1
            axes[dim] = NONE
        return Seen(tuple(axes), (spans[0], spans[1]), (places[0], places[1]))

    def _both(self, one: Seen, other: Seen, axes: Axes) -> Seen:
        """Return what is seen by what depends on two tensors."""
        spans: list[Span | None] = []
        for first, second, end in zip(one.spans, other.spans, self.image, strict=True):
            if first is None or second is None:
                spans.append(None)
                continue
            span = Span(
                min(first.first, second.first), max(first.last, second.last), max(first.stride, second.stride)
            )
            if 0 in (first.stride, second.stride):  # what all places see alike is part of it
                span = Span(max(0, span.first), min(end - 1, span.last), 0)
            spans.append(span)
        places = max(one.places[0], other.places[0]), max(one.places[1], other.places[1])
        return Seen(axes, (spans[0], spans[1]), places, one.origin)

    def _window(self, given: Arguments, inputs: list[Tensor], output: Tensor) -> Seen:
        tensor = given.get("input", given.get("self"))
        if given.get("transposed") or not isinstance(tensor, Tensor) or self.seen(tensor) is None:
            return Seen((NONE,) * output.ndim, (None, None), (1, 1))
        seen, windows = self._of(tensor), windows_of(given)
        spans, places = list(seen.spans), list(seen.places)
        for window, dim in zip(reversed(windows), reversed(range(tensor.ndim)), strict=False):
            for side in seen.axes[dim]:
                spans[side] = slid(spans[side], window) if len(seen.axes[dim]) == 1 else None
                places[side] = (
                    output.shape[dim] if output.ndim == tensor.ndim else window.output(places[side])
                )
        axes = seen.axes if output.ndim == tensor.ndim else (NONE, NONE, BOTH)  # im2col: (N, C·F·F, places)
        return Seen(axes, (spans[0], spans[1]), (places[0], places[1]))

    def _adaptive(self, given: Arguments, inputs: list[Tensor], output: Tensor) -> Seen:
        seen = self._of(inputs[0])
        spans, places = list(seen.spans), list(seen.places)
        for dim in (-2, -1):
            size, target = inputs[0].shape[dim], output.shape[dim]
            if target == 1:
                seen = self._collapsed(replace(seen, spans=(spans[0], spans[1])), [seen_dim(seen, dim)])
                spans, places = list(seen.spans), list(seen.places)
                continue
            for side in seen.axes[dim]:
                # Windows of whole size where the sizes divide, and of two sizes where not: the larger.
                reach = max(-(-(i + 1) * size // target) - i * size // target for i in range(target))
                spans[side] = slid(spans[side], Window(reach, max(1, size // target)))
                places[side] = target
        return Seen(seen.axes, (spans[0], spans[1]), (places[0], places[1]))

    def _reduced(self, given: Arguments, inputs: list[Tensor], output: Tensor) -> Seen:
        dims = _dims(given, inputs[0].ndim)
        seen = self._collapsed(self._of(inputs[0]), dims)
        if given.get("keepdim"):
            return seen
        return replace(seen, axes=tuple(axes for dim, axes in enumerate(seen.axes) if dim not in dims))

    def _softmax(self, given: Arguments, inputs: list[Tensor], output: Tensor) -> Seen:
        seen = self._of(inputs[0])
        dims = _dims(given, inputs[0].ndim)
        return replace(self._collapsed(seen, dims), axes=seen.axes, places=seen.places)

    def _view(self, given: Arguments, inputs: list[Tensor], output: Tensor) -> Seen:
        seen, old = self._of(inputs[0]), tuple(inputs[0].shape)
        if seen.origin is not None:
            old, axes = seen.origin
            seen = replace(seen, axes=axes, origin=None)
        return self._regrouped(seen, old, tuple(output.shape))

    def _regrouped(self, seen: Seen, old: tuple[int, ...], new: tuple[int, ...]) -> Seen:
        """Return what is seen after old dimensions were merged and split into new ones.

        A dimension of size 1 that vanishes held the only place of its side.
        """
        kept = seen
        vanishing = [dim for dim, size in enumerate(old) if size == 1 and seen.axes[dim]]
        if vanishing and len(new) < len(old):
            kept = self._collapsed(seen, vanishing)
        sources = [dim for dim, size in enumerate(old) if size > 1]
        targets = [dim for dim, size in enumerate(new) if size > 1]
        axes, spans = [NONE] * len(new), list(kept.spans)
        while sources and targets:
            from_dims, to_dims = [sources.pop(0)], [targets.pop(0)]
            sizes = [old[from_dims[0]], new[to_dims[0]]]
            while sizes[0] != sizes[1]:
                if sizes[0] < sizes[1]:
                    from_dims.append(sources.pop(0))
                    sizes[0] *= old[from_dims[-1]]
                else:
                    to_dims.append(targets.pop(0))
                    sizes[1] *= new[to_dims[-1]]
            sides = frozenset().union(*(kept.axes[dim] for dim in from_dims))
            parts = tuple(new[dim] for dim in to_dims)
            if sides == BOTH and len(from_dims) == 1 and parts == kept.places:
                axes[to_dims[0]], axes[to_dims[1]] = HEIGHT, WIDTH
                continue
            for dim in to_dims:
                axes[dim] = sides
            if len(to_dims) > 1:
                for side in sides:
                    spans[side] = None
        if len(new) == len(old) and old == new:
            axes = list(seen.axes)
        elif vanishing and len(new) >= len(old):
            # Places of size 1 in as many or more dimensions: they are where they were, from the right.
            for dim in vanishing:
                axes[dim - len(old)] = seen.axes[dim]
        origin = (old, seen.axes) if len(new) < len(old) and any(seen.axes) else None
        return Seen(tuple(axes), (spans[0], spans[1]), kept.places, origin)

    def _permuted(self, given: Arguments, inputs: list[Tensor], output: Tensor) -> Seen:
        seen = self._of(inputs[0])
        count = inputs[0].ndim
        if "dims" in given:
            order = [dim % count for dim in given["dims"]]
        else:
            one, other = given.get("dim0", 0) % count, given.get("dim1", count - 1) % count
            order = list(range(count))
            order[one], order[other] = other, one
        return replace(seen, axes=tuple(seen.axes[dim] for dim in order))

    def _unsqueezed(self, given: Arguments, inputs: list[Tensor], output: Tensor) -> Seen:
        seen = self._of(inputs[0])
        axes = list(seen.axes)
        axes.insert(given["dim"] % output.ndim, NONE)
        return replace(seen, axes=tuple(axes))

    def _squeezed(self, given: Arguments, inputs: list[Tensor], output: Tensor) -> Seen:
        shape = inputs[0].shape
        wanted = _dims(given, len(shape))
        gone = [dim for dim in wanted if shape[dim] == 1]
        seen = self._collapsed(self._of(inputs[0]), gone)
        return replace(seen, axes=tuple(axes for dim, axes in enumerate(seen.axes) if dim not in gone))

    def _expanded(self, given: Arguments, inputs: list[Tensor], output: Tensor) -> Seen:
        return self._broadcast(inputs[0], output)

    def _sliced(self, given: Arguments, inputs: list[Tensor], output: Tensor) -> Seen:
        seen = self._of(inputs[0])
        dim = given["dim"] % inputs[0].ndim
        start, step = given.get("start") or 0, given.get("step") or 1
        start += inputs[0].shape[dim] if start < 0 else 0
        return self._moved(seen, dim, start, step, output.shape[dim])

    def _moved(self, seen: Seen, dim: int, start: int, step: int, places_left: int) -> Seen:
        """Return what is seen where place 0 of a dimension is what was place `start`, and so on by `step`."""
        spans, places = list(seen.spans), list(seen.places)
        for side in seen.axes[dim]:
            span = spans[side]
            if span is not None and len(seen.axes[dim]) == 1:
                shift = start * span.stride
                spans[side] = Span(span.first + shift, span.last + shift, span.stride * step)
                places[side] = places_left
            elif span is not None and span.stride:
                spans[side] = None
        return Seen(seen.axes, (spans[0], spans[1]), (places[0], places[1]))

    def _selected(self, given: Arguments, inputs: list[Tensor], output: Tensor) -> Seen:
        seen = self._of(inputs[0])
        dim = given["dim"] % inputs[0].ndim
        seen = self._moved(seen, dim, given["index"] % inputs[0].shape[dim], 1, 1)
        return replace(seen, axes=seen.axes[:dim] + seen.axes[dim + 1 :])

    def _split(self, given: Arguments, inputs: list[Tensor], output: Tensor) -> Seen:
        seen = self._of(inputs[0])
        dim = given.get("dim", 0) % inputs[0].ndim
        seen = self._scrambled(seen, seen.axes[dim])
        return seen if output.ndim == inputs[0].ndim else replace(seen, axes=_without(seen.axes, dim))

    def _scrambled(self, seen: Seen, sides: Iterable[int]) -> Seen:
        spans = list(seen.spans)
        for side in sides:
            spans[side] = None
        return replace(seen, spans=(spans[0], spans[1]))

    def _disordered(self, given: Arguments, inputs: list[Tensor], output: Tensor) -> Seen:
        """Places in another order: a window of them is none of the image any more."""
        seen = self._of(inputs[0])
        return self._scrambled(
            seen, [side for dim in _dims(given, len(seen.axes)) for side in seen.axes[dim]]
        )

    def _concatenated(self, given: Arguments, inputs: list[Tensor], output: Tensor) -> Seen:
        parts = [self._of(tensor) for tensor in inputs]
        seen = parts[0]
        for other in parts[1:]:
            seen = self._both(seen, other, seen.axes)
        return seen

    def _stacked(self, given: Arguments, inputs: list[Tensor], output: Tensor) -> Seen:
        seen = self._concatenated(given, inputs, output)
        axes = list(seen.axes)
        axes.insert(given["dim"] % output.ndim, NONE)
        return replace(seen, axes=tuple(axes))

    def _padded(self, given: Arguments, inputs: list[Tensor], output: Tensor) -> Seen:
        seen = self._of(inputs[0])
        pads = given["pad"] if "pad" in given else given["padding"]
        for index in range(0, len(pads), 2):
            dim = inputs[0].ndim - 1 - index // 2
            seen = self._moved(seen, dim, -pads[index], 1, output.shape[dim]) if seen.axes[dim] else seen
        return seen

    def _product(self, given: Arguments, inputs: list[Tensor], output: Tensor) -> Seen:
        """A matrix product, of (…, m, k) and (…, k, n): what k runs over is summed."""
        left, right = (given[name] for name in _factors(given))
        parts = []
        for tensor, summed in ((left, -1), (right, -2)):
            seen = self.seen(tensor)
            if seen is None:
                continue
            parts.append(replace(self._collapsed(seen, [tensor.ndim + summed]), origin=None))
        extra = given.get("self") if "mat1" in given or "batch1" in given else None
        if isinstance(extra, Tensor) and self.seen(extra) is not None:
            parts.append(self._broadcast(extra, output))
        seen = parts[0]
        for other in parts[1:]:
            seen = self._both(seen, other, _united(seen.axes, other.axes))
        return seen

    def _linear(self, given: Arguments, inputs: list[Tensor], output: Tensor) -> Seen:
        return self._collapsed(self._of(inputs[0]), [inputs[0].ndim - 1])

    def _attention(self, given: Arguments, inputs: list[Tensor], output: Tensor) -> Seen:
        """Every query sees all keys: dimension -2 is summed over, and remains."""
        seen = self._of(inputs[0])
        collapsed = self._collapsed(seen, [len(seen.axes) - 2])
        return replace(collapsed, axes=seen.axes, places=seen.places)

    def _resized(self, given: Arguments, inputs: list[Tensor], output: Tensor) -> Seen:
        return self._scrambled(self._of(inputs[0]), (0, 1))


RULES: dict[str, Callable[[Follower, Arguments, list[Tensor], Tensor], Seen]] = {
    **dict.fromkeys(("convolution", "_convolution", "im2col"), Follower._window),
    **dict.fromkeys(
        ("max_pool2d_with_indices", "avg_pool2d", "max_pool2d", "mkldnn_max_pool2d"), Follower._window
    ),
    **dict.fromkeys(("avg_pool3d", "max_pool3d_with_indices", "avg_pool1d"), Follower._window),
    **dict.fromkeys(
        ("_adaptive_avg_pool2d", "adaptive_avg_pool2d", "adaptive_max_pool2d"), Follower._adaptive
    ),
    **dict.fromkeys(
        ("mean", "sum", "amax", "amin", "max", "min", "std", "var", "var_mean"), Follower._reduced
    ),
    **dict.fromkeys(("linalg_vector_norm", "norm", "logsumexp", "prod"), Follower._reduced),
    **dict.fromkeys(("_softmax", "_log_softmax", "_safe_softmax", "softmax"), Follower._softmax),
    **dict.fromkeys(("view", "_unsafe_view", "reshape", "_reshape_alias", "unflatten"), Follower._view),
    **dict.fromkeys(("permute", "transpose", "t", "numpy_T"), Follower._permuted),
    **dict.fromkeys(("mm", "addmm", "bmm", "baddbmm"), Follower._product),
    **dict.fromkeys(("split", "split_with_sizes", "chunk", "unbind", "unsafe_split"), Follower._split),
    **dict.fromkeys(("roll", "flip", "index_select", "gather"), Follower._disordered),
    **dict.fromkeys(("constant_pad_nd", "reflection_pad2d", "replication_pad2d"), Follower._padded),
    **dict.fromkeys(("upsample_bilinear2d", "upsample_nearest2d", "upsample_bicubic2d"), Follower._resized),
    "unsqueeze": Follower._unsqueezed,
    "squeeze": Follower._squeezed,
    "expand": Follower._expanded,
    "slice": Follower._sliced,
    "select": Follower._selected,
    "cat": Follower._concatenated,
    "stack": Follower._stacked,
    "linear": Follower._linear,
}


def tensors_in(value: Any) -> Iterable[Tensor]:
    """Yield the tensors in a value or in nested lists, tuples and mappings of values."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for entry in value:
            yield from tensors_in(entry)
    elif isinstance(value, dict):
        yield from tensors_in(list(value.values()))


def arguments_of(function: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Arguments:
    """Return all arguments of a call of one of torch's operations by name, defaults included."""
    given = {}
    for position, argument in enumerate(function._schema.arguments):
        if position < len(args):
            given[argument.name] = args[position]
        elif argument.name in kwargs:
            given[argument.name] = kwargs[argument.name]
        elif argument.has_default_value():
            given[argument.name] = argument.default_value
    return given


def windows_of(given: Arguments) -> list[Window]:
    """Return the window of a convolution or pooling along each of the last dimensions of its input."""
    weight = given.get("weight")
    kernel = list(weight.shape[2:]) if isinstance(weight, Tensor) else list(given["kernel_size"])
    count = len(kernel)
    stride = list(given.get("stride") or kernel)
    padding, dilation = list(given.get("padding") or [0]), list(given.get("dilation") or [1])
    full = [values * count if len(values) == 1 else values for values in (stride, padding, dilation)]
    return [Window(*values) for values in zip(kernel, *full, strict=True)]


def slid(span: Span | None, window: Window) -> Span | None:
    """Return what a map sees that a window made by sliding over a map that saw `span`."""
    if span is None:
        return None
    first = span.first - window.padding * span.stride
    last = span.last + (window.reach - 1 - window.padding) * span.stride
    return Span(first, last, span.stride * window.stride)


def seen_dim(seen: Seen, dim: int) -> int:
    """Return a dimension counted from the left."""
    return dim % len(seen.axes)


def _united(one: Axes, other: Axes) -> Axes:
    return tuple(a | b for a, b in zip(one, other, strict=True))


def _without(axes: Axes, dim: int) -> Axes:
    return axes[:dim] + axes[dim + 1 :]


def _dims(given: Arguments, count: int) -> list[int]:
    """Return the dimensions an operation names, counted from the left; all of them where it names none."""
    named = given.get("dim", given.get("dims"))
    if named is None or named == []:
        return list(range(count))
    return [dim % count for dim in (named if isinstance(named, list | tuple) else [named])]


def _factors(given: Arguments) -> tuple[str, str]:
    """Return the names of the two matrices in the arguments of a product."""
    if "mat1" in given:
        return "mat1", "mat2"
    return ("batch1", "batch2") if "batch1" in given else ("self", "mat2")


def multiply_adds(operation: str, given: Arguments, result: Any) -> int:
    """Return the multiplications followed by an addition in one operation: those of products of matrices."""
    if operation in ("convolution", "_convolution"):
        filters = given["weight"]
        positions = given["input"] if given.get("transposed") else result
        return int(positions.numel() * math.prod(filters.shape[1:]))
    if operation in ("mm", "addmm", "bmm", "baddbmm"):
        return int(result.numel() * given[_factors(given)[0]].shape[-1])
    if operation == "linear":
        return int(result.numel() * given["input"].shape[-1])
    if "scaled_dot_product" in operation and "query" in given:
        query, key, value = given["query"], given["key"], given["value"]
        return int(query.shape[:-1].numel() * key.shape[-2] * (query.shape[-1] + value.shape[-1]))
    return 0
