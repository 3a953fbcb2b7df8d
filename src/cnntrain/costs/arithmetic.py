"""What each layer of a network gives, sees, holds and costs (M1, M3, L9), as in the notes' VGG-16 table.

One image goes forward on torch's meta device, where tensors have a shape and no values: nothing is
computed or stored, whatever the size. Hooks say which module is running, and every operation of torch is
followed on its way, so any network can be read, not only those of this program.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from ..errors import ConfigError
from ..model import layers
from ..model.sizes import Window
from .receptive_field import Follower, Seen, arguments_of, multiply_adds, tensors_in, windows_of

LARGEST_SIDE = 4096
WINDOW_OPERATIONS = re.compile(r"(_?convolution|im2col|(max|avg)_pool\dd(_with_indices)?)$")


@dataclass(frozen=True)
class Slide:
    """How a layer's window slid over a map: by side, the window and the map's size before it."""

    windows: tuple[Window, Window]
    sides: tuple[int, int]
    is_convolution: bool
    depthwise: bool
    rounds_up: bool


@dataclass(frozen=True)
class LayerCost:
    """One row of the table; numbers are for one image.

    shape: of the output, (channels, height, width) or (units,). receptive_field, stride: (height, width)
    in pixels of the image, None where they cannot be told; stride also where there is one place only.
    product: the weights as they are counted, "(3·3·64)·128". Weights used by several layers are counted
    at the first. training_only: it runs in training alone, as an auxiliary head does.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    receptive_field: tuple[int, int] | None
    stride: tuple[int, int] | None
    activations: int
    weights: int
    product: str
    biases: int
    multiply_adds: int
    training_only: bool = False
    slide: Slide | None = None


def layer_table(network: nn.Module, in_channels: int, image_size: tuple[int, int]) -> list[LayerCost]:
    """Return a row for the input, and for each layer in the order in which they run.

    A row has whatever holds weights, slides a window, or changes how many values there are; activation
    functions and dropout work in place and have none. The network is left as it was. Raises ConfigError
    where it does not take images of this size, with the least side it takes if there is one.
    """
    height, width = image_size
    rows = [
        LayerCost(
            "input",
            "",
            (in_channels, height, width),
            (1, 1),
            (1, 1),
            in_channels * height * width,
            0,
            "",
            0,
            0,
        )
    ]
    calls = _run(network, in_channels, image_size)
    ran = {id(call.module) for call in calls}
    if any(id(module) not in ran and _own(module) for module in network.modules()):
        calls = _with_training(calls, _run(network, in_channels, image_size, training=True))
    held = _held_weights(network, calls)
    for call in calls:
        weights = held.pop(id(call.module), {})
        if weights or call.has_row():
            rows.append(call.row(weights))
    return rows


def size_notices(rows: list[LayerCost]) -> list[str]:
    """Return a line for each thing about the sizes that is worth a second look (L1, M4)."""
    return [*_not_whole(rows), *_large_filters(rows), *_large_pools(rows)]


@dataclass
class _Call:
    """One call of a module: what went in and came out, and what ran in it outside its children."""

    name: str
    module: nn.Module
    leaf: bool
    inputs: Tensor | None
    flattened: tuple[int, ...] | None
    output: Tensor | None = None
    seen: Seen | None = None
    multiply_adds: int = 0
    slides: list[Slide] = field(default_factory=list)
    training_only: bool = False

    def has_row(self) -> bool:
        """Whether a call without weights has a row."""
        if self.output is None:
            return False
        if self.multiply_adds:
            return True
        before = None if self.inputs is None else self.inputs.shape
        if not self.leaf or before is None:
            return False
        changes = before.numel() != self.output.numel()
        slides = any(window != Window(1) for slide in self.slides for window in slide.windows)
        return changes or slides or isinstance(self.module, nn.LocalResponseNorm)

    def row(self, weights: dict[str, Tensor]) -> LayerCost:
        """Return the row of this call, which is the first to use `weights`, by their names."""
        assert self.output is not None
        biases = {name: weight for name, weight in weights.items() if name.endswith("bias")}
        others = {name: weight for name, weight in weights.items() if name not in biases}
        shared = not weights and _own(self.module)
        spans = (None, None) if self.seen is None else self.seen.spans
        first, second = spans
        return LayerCost(
            name=self.name,
            kind=kind_of(self.module, self.output),
            shape=tuple(self.output.shape[1:]),
            receptive_field=None if first is None or second is None else (first.size, second.size),
            stride=(
                None
                if first is None or second is None or 0 in (first.stride, second.stride)
                else (first.stride, second.stride)
            ),
            activations=self.output.numel(),
            weights=sum(weight.numel() for weight in others.values()),
            product="shared" if shared else _product(self.module, others, self.flattened),
            biases=sum(weight.numel() for weight in biases.values()),
            multiply_adds=self.multiply_adds,
            training_only=self.training_only,
            slide=self.slides[-1] if self.slides else None,
        )


class _Reader(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Reads a forward pass: which module runs, what it computes, what its outputs see."""

    def __init__(self, images: Tensor):
        super().__init__()  # type: ignore[no-untyped-call]
        self.follower = Follower(images)
        self.running: list[_Call] = []
        self.calls: list[_Call] = []

    @contextmanager
    def hooked(self, network: nn.Module) -> Iterator[None]:
        """Have all modules of a network report to this reader."""
        handles = []
        for name, module in network.named_modules():
            handles.append(module.register_forward_pre_hook(partial(self._enter, name), with_kwargs=True))
            handles.append(module.register_forward_hook(self._leave))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _enter(self, name: str, module: nn.Module, args: Any, kwargs: Any) -> None:
        given = next(iter(tensors_in([args, kwargs])), None)
        seen = None if given is None else self.follower.seen(given)
        leaf = next(module.children(), None) is None
        self.running.append(_Call(name, module, leaf, given, None if seen is None else seen.flattened))

    def _leave(self, module: nn.Module, args: Any, output: Any) -> None:
        call = self.running.pop()
        assert call.module is module
        call.output = next(iter(tensors_in(output)), None)
        if call.output is not None:
            call.seen = self.follower.seen(call.output)
            call.output = call.output.to("meta")  # its shape is all we need from here on
        self.calls.append(call)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        operation = func._schema.name.removeprefix("aten::")
        given = arguments_of(func, args, kwargs or {})
        self.follower.follow(operation, given, result)
        if self.running:
            call = self.running[-1]
            call.multiply_adds += multiply_adds(operation, given, result)
            if WINDOW_OPERATIONS.match(operation):
                call.slides.append(_slide(operation, given))
        return result


def _slide(operation: str, given: dict[str, Any]) -> Slide:
    """Return how the window of an operation slides over the last two dimensions of its input."""
    maps = given.get("input", given.get("self"))
    assert isinstance(maps, Tensor)
    windows = [Window(1), *windows_of(given)][-2:]
    return Slide(
        (windows[0], windows[1]),
        (maps.shape[-2], maps.shape[-1]),
        is_convolution="convolution" in operation,
        depthwise=given.get("groups", 1) == maps.shape[1] > 1,
        rounds_up=bool(given.get("ceil_mode") or given.get("transposed")),
    )


def _run(
    network: nn.Module, in_channels: int, image_size: tuple[int, int], training: bool = False
) -> list[_Call]:
    """Return the calls of one forward pass; raises ConfigError where the network does not take the image."""
    try:
        return _forward(network, in_channels, image_size, "meta", training)
    except _Failed as on_meta:
        failed = on_meta
    if not any(weight.is_meta for weight in network.parameters()):
        # What depends on values on its way cannot run without them.
        try:
            return _forward(network, in_channels, image_size, "cpu", training)
        except _Failed as on_cpu:
            failed = on_cpu
    least = _least_side(network, in_channels, image_size)
    raise ConfigError([failed.line(image_size, least)]) from failed


class _Failed(Exception):
    """A forward pass ended in an error inside a module."""

    def __init__(self, name: str, kind: str, cause: Exception):
        super().__init__(str(cause))
        self.name, self.kind, self.cause = name, kind, cause

    def line(self, image_size: tuple[int, int], least: int | None) -> str:
        """Return what the user should know."""
        height, width = image_size
        where = f"{self.name or 'the network'} ({self.kind})"
        if least is not None and least > min(image_size):
            return (
                f"model: images of {height}x{width} shrink to nothing at {where}; "
                f"it takes images from {least}x{least} on: write summary.image_size={least}"
            )
        reason = (str(self.cause).splitlines() or [type(self.cause).__name__])[0]
        return f"model: {where} does not take images of {height}x{width}: {reason}"


def _forward(
    network: nn.Module, in_channels: int, image_size: tuple[int, int], device: str, training: bool
) -> list[_Call]:
    modes = {module: module.training for module in network.modules()}
    network.train(training)
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()  # in training it refuses a map of one place, of which one image has a single one
    try:
        floats = (weight.dtype for weight in network.parameters() if weight.is_floating_point())
        images = torch.zeros(1, in_channels, *image_size, device=device, dtype=next(floats, torch.float32))
        reader = _Reader(images)
        state = {
            name: tensor.detach().to(device).requires_grad_(tensor.requires_grad)
            for name, tensor in [*network.named_parameters(), *network.named_buffers()]
        }
        with torch.random.fork_rng(devices=[]), torch.device(device), reader.hooked(network), reader:
            try:
                torch.func.functional_call(network, state, (images,))
            except Exception as error:
                at = reader.running[-1] if reader.running else None
                raise _Failed(
                    at.name if at else "", kind_of(at.module, None) if at else "network", error
                ) from error
        return reader.calls
    finally:
        for module, mode in modes.items():
            module.training = mode


def _least_side(network: nn.Module, in_channels: int, image_size: tuple[int, int]) -> int | None:
    """Return the least side of square images that the network takes, None where there is none."""

    def takes(side: int) -> bool:
        try:
            _forward(network, in_channels, (side, side), "meta", False)
        except _Failed:
            return False
        return True

    low = high = min(image_size)
    while not takes(high):
        low, high = high, 2 * high
        if high > LARGEST_SIDE:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if takes(middle) else (middle, high)
    return high


def _with_training(calls: list[_Call], in_training: list[_Call]) -> list[_Call]:
    """Return the calls of prediction with those put between them that only training makes."""
    usual = {id(call.module) for call in calls}
    merged, position = [], 0
    for call in in_training:
        if id(call.module) in usual:
            while position < len(calls) and calls[position].module is not call.module:
                merged.append(calls[position])
                position += 1
            merged += calls[position : position + 1]
            position += 1
        else:
            call.training_only = True
            merged.append(call)
    return merged + calls[position:]


def _own(module: nn.Module) -> dict[str, Tensor]:
    """Return the weights that a module itself holds, by name."""
    return {name: weight for name, weight in module._parameters.items() if weight is not None}


def _held_weights(network: nn.Module, calls: list[_Call]) -> dict[int, dict[str, Tensor]]:
    """Return, by id of module, the weights that count as its own: each weight once.

    What modules hold that are never called (MultiheadAttention reads the weights of its own layers)
    belongs to the nearest one around them that is.
    """
    called = {id(call.module) for call in calls}
    by_name = dict(network.named_modules())
    held: dict[int, dict[str, Tensor]] = {}
    for name, weight in network.named_parameters():
        owner = name.rpartition(".")[0]
        while owner and id(by_name[owner]) not in called:
            owner = owner.rpartition(".")[0]
        local = name.removeprefix(f"{owner}.") if owner else name
        held.setdefault(id(by_name[owner]), {})[local] = weight
    return held


def kind_of(module: nn.Module, output: Tensor | None) -> str:
    """Return what a module is, in a few words: "conv 3x3/2", "max pool 2x2", "linear"."""
    for type_, describe in KINDS.items():
        if isinstance(module, type_):
            return describe(module)
    if isinstance(module, nn.AdaptiveAvgPool2d | nn.AdaptiveMaxPool2d):
        kind = "average" if isinstance(module, nn.AdaptiveAvgPool2d) else "max"
        to = "" if output is None else f" to {output.shape[-2]}x{output.shape[-1]}"
        return f"{kind} pool{to}"
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(module).__name__)
    return " ".join(word if word.isupper() else word.lower() for word in words.split())


def _pair(value: Any) -> tuple[Any, Any]:
    return (value[0], value[1]) if isinstance(value, list | tuple) else (value, value)


def _sides(value: Any) -> str:
    height, width = _pair(value)
    return f"{height}x{width}"


def _step(stride: Any, usual: Any) -> str:
    """Return "/2" where a stride is not the usual one."""
    if _pair(stride) == _pair(usual):
        return ""
    height, width = _pair(stride)
    return f"/{height}" if height == width else f"/{height}x{width}"


def _convolution(module: Any) -> str:
    more = ""
    if _pair(module.dilation) != (1, 1):
        more += f", dilation {_pair(module.dilation)[0]}"
    if module.groups > 1:
        more += f", {module.groups} groups" if module.groups < module.in_channels else ", depthwise"
    name = "transposed conv" if isinstance(module, nn.ConvTranspose2d) else "conv"
    return f"{name} {_sides(module.kernel_size)}{_step(module.stride, 1)}{more}"


def _pool(kind: str) -> Callable[[Any], str]:
    def words(module: Any) -> str:
        stride = module.kernel_size if module.stride is None else module.stride
        return f"{kind} pool {_sides(module.kernel_size)}{_step(stride, module.kernel_size)}"

    return words


def _local(module: Any) -> str:
    return f"local {_sides(module.window['kernel_size'])}{_step(module.window['stride'], 1)}"


def _norm_pool(module: Any) -> str:
    size, stride = module.window["kernel_size"], module.window["stride"]
    return f"L2 pool {_sides(size)}{_step(stride, size)}"


KINDS: dict[type[nn.Module], Callable[[Any], str]] = {
    nn.Conv2d: _convolution,
    nn.ConvTranspose2d: _convolution,
    nn.Linear: lambda module: "linear",
    nn.MaxPool2d: _pool("max"),
    nn.AvgPool2d: _pool("average"),
    layers.L2Pool2d: _norm_pool,
    layers.LocallyConnected2d: _local,
    nn.BatchNorm2d: lambda module: "batch norm",
    nn.BatchNorm1d: lambda module: "batch norm",
    nn.LocalResponseNorm: lambda module: "response norm",
    nn.LayerNorm: lambda module: "layer norm",
    nn.GroupNorm: lambda module: "group norm",
    nn.MultiheadAttention: lambda module: f"attention, {module.num_heads} heads",
    nn.PReLU: lambda module: "PReLU",
}


def _product(module: nn.Module, weights: dict[str, Tensor], flattened: tuple[int, ...] | None) -> str:
    """Return the weights of a module as the notes spell them: what one unit has, times the units."""
    if set(weights) == {"weight"}:
        shape = tuple(weights["weight"].shape)
        if isinstance(module, nn.Conv2d):
            channels, inputs, height, width = shape
            return f"({height}·{width}·{inputs})·{channels}"
        if isinstance(module, layers.LocallyConnected2d):
            side, (height, width) = module.window["kernel_size"], module.out_size
            return f"({height}·{width})·({side}·{side}·{shape[2] // side**2})·{shape[1]}"
        if isinstance(module, nn.Linear):
            inputs_product = str(shape[1])
            if flattened is not None and flattened[1:] != (1, 1) and math.prod(flattened) == shape[1]:
                inputs_product = f"{flattened[1]}·{flattened[2]}·{flattened[0]}"
            return f"{inputs_product}·{shape[0]}"
    return " + ".join("·".join(str(size) for size in weight.shape) or "1" for weight in weights.values())


def _slides(rows: list[LayerCost]) -> Iterator[tuple[LayerCost, Slide]]:
    for row in rows:
        if row.slide is not None:
            yield row, row.slide


def _not_whole(rows: list[LayerCost]) -> Iterator[str]:
    """Name the layers whose sizes do not divide: those that lose pixels one by one, the others together."""
    padding_only: list[str] = []
    for row, slide in _slides(rows):
        if slide.rounds_up:
            continue
        left = [_left_over(window, size) for window, size in zip(slide.windows, slide.sides, strict=True)]
        lost = [over - window.padding for window, over in zip(slide.windows, left, strict=True)]
        if max(lost) > 0:
            side = 0 if lost[0] > 0 else 1
            what = [
                f"{count} {word}s" if count > 1 else word
                for count, word in zip(lost, ("row", "column"), strict=True)
                if count > 0
            ]
            be = "are" if len(what) > 1 or max(lost) > 1 else "is"
            yield (
                f"{row.name}: {_quotient(slide, side)} is not whole: "
                f"the last {' and '.join(what)} {be} not seen"
            )
        elif any(left):
            side = 0 if left[0] else 1
            padding_only.append(f"{row.name}: {_quotient(slide, side)}")
    if padding_only:
        others = len(padding_only) - 1
        more = f" (nor in {others} more layer{'s' if others > 1 else ''})" if others else ""
        yield f"{padding_only[0]} is not whole{more}: only zeros of the padding are not seen"


def _left_over(window: Window, size: int) -> int:
    """Return how many of the last pixels no position sees, those between positions not counted."""
    left = (size + 2 * window.padding - window.reach) % window.stride
    return max(0, left - max(0, window.stride - window.reach))


def _quotient(slide: Slide, side: int) -> str:
    """Return (W - F + 2P)/S with its numbers."""
    window, size = slide.windows[side], slide.sides[side]
    padding = f" + 2·{window.padding}" if window.padding else ""
    return f"({size} - {window.reach}{padding})/{window.stride}"


def _large_filters(rows: list[LayerCost]) -> Iterator[str]:
    convolutions = [(row, slide) for row, slide in _slides(rows) if slide.is_convolution]
    large = [
        row
        for row, slide in convolutions[1:]
        if min(window.kernel_size for window in slide.windows) > 5
        and not slide.depthwise
        and tuple(window.kernel_size for window in slide.windows) != slide.sides
    ]
    if large:
        yield (
            f"{_names(large)}: filters larger than 5x5 beyond the first layer; three 3x3 see as much as one "
            "7x7, with 27·C² weights in place of 49·C²"
        )


def _large_pools(rows: list[LayerCost]) -> Iterator[str]:
    large = [
        row
        for row, slide in _slides(rows)
        if not slide.is_convolution
        and row.kind.partition(" ")[2].startswith("pool")
        and max(window.kernel_size for window in slide.windows) > 3
        and tuple(window.kernel_size for window in slide.windows) != slide.sides
    ]
    if large:
        yield f"{_names(large)}: pooling windows larger than 3x3 throw away most of the map"


def _names(rows: list[LayerCost]) -> str:
    shown = ", ".join(row.name for row in rows[:3])
    return f"{shown} and {len(rows) - 3} more" if len(rows) > 3 else shown
