"""Shape, receptive field, weights and multiply-adds of each layer (M1, M3, L9): the notes' VGG-16 table.

One image is passed forward on torch's meta device, where tensors have a shape and no values: nothing is
computed or stored, whatever the size. Hooks record which module is running, and every torch operation is
intercepted, so this works for any network, not only for those of this program.
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

from ..errors import ConfigError
from ..model import shared_layers
from ..model.feature_map_sizes import Window
from ..without_compiler import DispatchMode
from .receptive_field import (
    ReceptiveField,
    ReceptiveFieldTracer,
    arguments_of,
    multiply_adds,
    tensors_in,
    windows_of,
)

MAX_SIDE = 4096
WINDOW_OPERATIONS = re.compile(r"(_?convolution|im2col|(max|avg)_pool\dd(_with_indices)?)$")


@dataclass(frozen=True)
class WindowOperation:
    """A convolution or pooling: its window and the size of its input map, each as (height, width)."""

    windows: tuple[Window, Window]
    input_size: tuple[int, int]
    is_convolution: bool
    depthwise: bool
    rounds_up: bool


@dataclass(frozen=True)
class LayerCost:
    """One row of the table; numbers are for one image.

    shape: of the output, (channels, height, width) or (units,). receptive_field, stride: (height, width)
    in pixels of the image, None where unknown; stride is None also where there is only one position.
    product: the number of weights as a product, "(3·3·64)·128". Weights used by several layers are counted
    at the first. training_only: runs in training only, as an auxiliary head does. slide: the layer's window
    operation, None without one.
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
    slide: WindowOperation | None = None


def layer_table(network: nn.Module, in_channels: int, image_size: tuple[int, int]) -> list[LayerCost]:
    """Return a row for the input and for each layer, in the order of execution.

    Modules that have weights, apply a window, or change the number of values have a row; activation
    functions and dropout have none. The network is not changed. Raises ConfigError where the network does
    not accept images of this size, with the smallest side accepted if there is one.
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
    called = {id(call.module) for call in calls}
    if any(id(module) not in called and _own_parameters(module) for module in network.modules()):
        calls = _with_training_only(calls, _run(network, in_channels, image_size, training=True))
    weights_by_module = _weights_by_module(network, calls)
    for call in calls:
        weights = weights_by_module.pop(id(call.module), {})
        if weights or call.has_row():
            rows.append(call.row(weights))
    return rows


def size_notices(rows: list[LayerCost]) -> list[str]:
    """Return a notice for each questionable size: uneven division, large filters, large pooling (L1, M4)."""
    return [*_uneven_sizes(rows), *_large_filters(rows), *_large_pools(rows)]


@dataclass
class _Call:
    """One call of a module: its input, its output, and the operations run in it outside its children."""

    name: str
    module: nn.Module
    is_leaf: bool
    input: Tensor | None
    flattened_from: tuple[int, ...] | None
    output: Tensor | None = None
    receptive_field: ReceptiveField | None = None
    multiply_adds: int = 0
    window_operations: list[WindowOperation] = field(default_factory=list)
    training_only: bool = False

    def has_row(self) -> bool:
        """Return whether a call without weights has a row."""
        if self.output is None:
            return False
        if self.multiply_adds:
            return True
        input_shape = None if self.input is None else self.input.shape
        if not self.is_leaf or input_shape is None:
            return False
        changes_size = input_shape.numel() != self.output.numel()
        has_window = any(window != Window(1) for used in self.window_operations for window in used.windows)
        return changes_size or has_window or isinstance(self.module, nn.LocalResponseNorm)

    def row(self, weights: dict[str, Tensor]) -> LayerCost:
        """Return the row of this call; weights: by name, those that no earlier call uses."""
        assert self.output is not None
        biases = {name: weight for name, weight in weights.items() if name.endswith("bias")}
        others = {name: weight for name, weight in weights.items() if name not in biases}
        shared = not weights and _own_parameters(self.module)
        extents = (None, None) if self.receptive_field is None else self.receptive_field.extents
        vertical, horizontal = extents
        return LayerCost(
            name=self.name,
            kind=kind_of(self.module, self.output),
            shape=tuple(self.output.shape[1:]),
            receptive_field=(
                None if vertical is None or horizontal is None else (vertical.size, horizontal.size)
            ),
            stride=(
                None
                if vertical is None or horizontal is None or 0 in (vertical.stride, horizontal.stride)
                else (vertical.stride, horizontal.stride)
            ),
            activations=self.output.numel(),
            weights=sum(weight.numel() for weight in others.values()),
            product="shared" if shared else _product(self.module, others, self.flattened_from),
            biases=sum(weight.numel() for weight in biases.values()),
            multiply_adds=self.multiply_adds,
            training_only=self.training_only,
            slide=self.window_operations[-1] if self.window_operations else None,
        )


class _ForwardRecorder(DispatchMode):
    """Records the module calls of a forward pass, their operations and the receptive fields of outputs."""

    def __init__(self, images: Tensor):
        super().__init__()
        self.tracer = ReceptiveFieldTracer(images)
        self.running: list[_Call] = []
        self.calls: list[_Call] = []

    @contextmanager
    def hooked(self, network: nn.Module) -> Iterator[None]:
        """Register hooks that record the calls of all modules of a network; remove them at the end."""
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
        input = next(iter(tensors_in([args, kwargs])), None)
        receptive_field = None if input is None else self.tracer.field_of(input)
        flattened_from = None if receptive_field is None else receptive_field.flattened_from
        is_leaf = next(module.children(), None) is None
        self.running.append(_Call(name, module, is_leaf, input, flattened_from))

    def _leave(self, module: nn.Module, args: Any, output: Any) -> None:
        call = self.running.pop()
        assert call.module is module
        call.output = next(iter(tensors_in(output)), None)
        if call.output is not None:
            call.receptive_field = self.tracer.field_of(call.output)
            call.output = call.output.to("meta")  # only its shape is needed later
        self.calls.append(call)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if torch.is_inference_mode_enabled():
            with self:
                result = func.decompose(*args, **(kwargs or {}))
            if result is not NotImplemented:
                return result
        result = func(*args, **(kwargs or {}))
        operation = func._schema.name.removeprefix("aten::")
        arguments = arguments_of(func, args, kwargs or {})
        self.tracer.trace(operation, arguments, result)
        if self.running:
            call = self.running[-1]
            call.multiply_adds += multiply_adds(operation, arguments, result)
            if WINDOW_OPERATIONS.match(operation):
                call.window_operations.append(_window_operation(operation, arguments))
        return result


def _window_operation(operation: str, arguments: dict[str, Any]) -> WindowOperation:
    """Return the window operation along the last two dimensions of an operation's input."""
    maps = arguments.get("input", arguments.get("self"))
    assert isinstance(maps, Tensor)
    windows = [Window(1), *windows_of(arguments)][-2:]
    return WindowOperation(
        (windows[0], windows[1]),
        (maps.shape[-2], maps.shape[-1]),
        is_convolution="convolution" in operation,
        depthwise=arguments.get("groups", 1) == maps.shape[1] > 1,
        rounds_up=bool(arguments.get("ceil_mode") or arguments.get("transposed")),
    )


def _run(
    network: nn.Module, in_channels: int, image_size: tuple[int, int], training: bool = False
) -> list[_Call]:
    """Return the calls of one forward pass; raise ConfigError where the network does not accept the image."""
    try:
        return _forward(network, in_channels, image_size, "meta", training)
    except _ForwardError as on_meta:
        failure = on_meta
    if not any(weight.is_meta for weight in network.parameters()):
        # A network whose control flow depends on values cannot run on the meta device.
        try:
            return _forward(network, in_channels, image_size, "cpu", training)
        except _ForwardError as on_cpu:
            failure = on_cpu
    min_side = _min_side(network, in_channels, image_size)
    raise ConfigError([failure.message(image_size, min_side)]) from failure


class _ForwardError(Exception):
    """An error of a forward pass, with the name and the kind of the module in which it was raised."""

    def __init__(self, name: str, kind: str, cause: Exception):
        super().__init__(str(cause))
        self.name, self.kind, self.cause = name, kind, cause

    def message(self, image_size: tuple[int, int], min_side: int | None) -> str:
        """Return the message for the user."""
        height, width = image_size
        layer = f"{self.name or 'the network'} ({self.kind})"
        if min_side is not None and min_side > min(image_size):
            return (
                f"model: images of {height}x{width} are too small for {layer}; the smallest accepted size is "
                f"{min_side}x{min_side}: write summary.image_size={min_side}"
            )
        reason = (str(self.cause).splitlines() or [type(self.cause).__name__])[0]
        return f"model: {layer} does not accept images of {height}x{width}: {reason}"


def _forward(
    network: nn.Module, in_channels: int, image_size: tuple[int, int], device: str, training: bool
) -> list[_Call]:
    modes = {module: module.training for module in network.modules()}
    # functional_call leaves its own tensors in a module that is reached by several names.
    tensors = [(module, dict(module._parameters), dict(module._buffers)) for module in network.modules()]
    network.train(training)
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()  # in training mode it does not accept the 1x1 map of a single image
    try:
        dtypes = (weight.dtype for weight in network.parameters() if weight.is_floating_point())
        images = torch.zeros(1, in_channels, *image_size, device=device, dtype=next(dtypes, torch.float32))
        recorder = _ForwardRecorder(images)
        state = {
            name: tensor.detach().to(device).requires_grad_(tensor.requires_grad)
            for name, tensor in [*network.named_parameters(), *network.named_buffers()]
        }
        with torch.random.fork_rng(devices=[]), torch.device(device), recorder.hooked(network), recorder:
            try:
                torch.func.functional_call(network, state, (images,))
            except Exception as error:
                call = recorder.running[-1] if recorder.running else None
                raise _ForwardError(
                    call.name if call else "", kind_of(call.module, None) if call else "network", error
                ) from error
        return recorder.calls
    finally:
        for module, mode in modes.items():
            module.training = mode
        for module, parameters, buffers in tensors:
            module._parameters.update(parameters)
            module._buffers.update(buffers)


def _min_side(network: nn.Module, in_channels: int, image_size: tuple[int, int]) -> int | None:
    """Return the smallest side of square images that the network accepts, None where there is none."""

    def accepts(side: int) -> bool:
        try:
            _forward(network, in_channels, (side, side), "meta", False)
        except _ForwardError:
            return False
        return True

    low = high = min(image_size)
    while not accepts(high):
        low, high = high, 2 * high
        if high > MAX_SIDE:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if accepts(middle) else (middle, high)
    return high


def _with_training_only(calls: list[_Call], training_calls: list[_Call]) -> list[_Call]:
    """Return the calls of prediction with the training-only calls inserted, in order of execution."""
    in_prediction = {id(call.module) for call in calls}
    merged, index = [], 0
    for call in training_calls:
        if id(call.module) in in_prediction:
            while index < len(calls) and calls[index].module is not call.module:
                merged.append(calls[index])
                index += 1
            merged += calls[index : index + 1]
            index += 1
        else:
            call.training_only = True
            merged.append(call)
    return merged + calls[index:]


def _own_parameters(module: nn.Module) -> dict[str, Tensor]:
    """Return the parameters of a module by name, those of its children not included."""
    return {name: weight for name, weight in module._parameters.items() if weight is not None}


def _weights_by_module(network: nn.Module, calls: list[_Call]) -> dict[int, dict[str, Tensor]]:
    """Return the weights counted for each module, by the module's id and by name; each weight once.

    Weights of modules that are never called (MultiheadAttention reads the weights of its own layers)
    are counted for the nearest enclosing module that is called.
    """
    called = {id(call.module) for call in calls}
    by_name = dict(network.named_modules())
    weights: dict[int, dict[str, Tensor]] = {}
    for name, weight in network.named_parameters():
        owner = name.rpartition(".")[0]
        while owner and id(by_name[owner]) not in called:
            owner = owner.rpartition(".")[0]
        local_name = name.removeprefix(f"{owner}.") if owner else name
        weights.setdefault(id(by_name[owner]), {})[local_name] = weight
    return weights


def kind_of(module: nn.Module, output: Tensor | None) -> str:
    """Return a short description of a module: "conv 3x3/2", "max pool 2x2", "linear"."""
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


def _stride_suffix(stride: Any, default: Any) -> str:
    """Return the stride as "/2" or "/2x1", empty where it is the default."""
    if _pair(stride) == _pair(default):
        return ""
    height, width = _pair(stride)
    return f"/{height}" if height == width else f"/{height}x{width}"


def _convolution(module: Any) -> str:
    suffix = ""
    if _pair(module.dilation) != (1, 1):
        suffix += f", dilation {_pair(module.dilation)[0]}"
    if module.groups > 1:
        suffix += f", {module.groups} groups" if module.groups < module.in_channels else ", depthwise"
    name = "transposed conv" if isinstance(module, nn.ConvTranspose2d) else "conv"
    return f"{name} {_sides(module.kernel_size)}{_stride_suffix(module.stride, 1)}{suffix}"


def _pool(kind: str) -> Callable[[Any], str]:
    def describe(module: Any) -> str:
        stride = module.kernel_size if module.stride is None else module.stride
        return f"{kind} pool {_sides(module.kernel_size)}{_stride_suffix(stride, module.kernel_size)}"

    return describe


def _locally_connected(module: Any) -> str:
    return f"local {_sides(module.window['kernel_size'])}{_stride_suffix(module.window['stride'], 1)}"


def _l2_pool(module: Any) -> str:
    size, stride = module.window["kernel_size"], module.window["stride"]
    return f"L2 pool {_sides(size)}{_stride_suffix(stride, size)}"


KINDS: dict[type[nn.Module], Callable[[Any], str]] = {
    nn.Conv2d: _convolution,
    nn.ConvTranspose2d: _convolution,
    nn.Linear: lambda module: "linear",
    nn.MaxPool2d: _pool("max"),
    nn.AvgPool2d: _pool("average"),
    shared_layers.L2Pool2d: _l2_pool,
    shared_layers.LocallyConnected2d: _locally_connected,
    nn.BatchNorm2d: lambda module: "batch norm",
    nn.BatchNorm1d: lambda module: "batch norm",
    nn.LocalResponseNorm: lambda module: "response norm",
    nn.LayerNorm: lambda module: "layer norm",
    nn.GroupNorm: lambda module: "group norm",
    nn.MultiheadAttention: lambda module: f"attention, {module.num_heads} heads",
    nn.PReLU: lambda module: "PReLU",
    nn.ReLU: lambda module: "ReLU",
    nn.SiLU: lambda module: "SiLU",
}


def _product(module: nn.Module, weights: dict[str, Tensor], map_shape: tuple[int, ...] | None) -> str:
    """Return the number of weights of a module as in the notes: weights per unit times number of units.

    map_shape: of the feature map flattened into the module's input, None for any other input.
    """
    if set(weights) == {"weight"}:
        shape = tuple(weights["weight"].shape)
        if isinstance(module, nn.Conv2d):
            channels, inputs, height, width = shape
            return f"({height}·{width}·{inputs})·{channels}"
        if isinstance(module, shared_layers.LocallyConnected2d):
            side, (height, width) = module.window["kernel_size"], module.out_size
            return f"({height}·{width})·({side}·{side}·{shape[2] // side**2})·{shape[1]}"
        if isinstance(module, nn.Linear):
            inputs_product = str(shape[1])
            if map_shape is not None and map_shape[1:] != (1, 1) and math.prod(map_shape) == shape[1]:
                inputs_product = f"{map_shape[1]}·{map_shape[2]}·{map_shape[0]}"
            return f"{inputs_product}·{shape[0]}"
    return " + ".join("·".join(str(size) for size in weight.shape) or "1" for weight in weights.values())


def _with_windows(rows: list[LayerCost]) -> Iterator[tuple[LayerCost, WindowOperation]]:
    """Yield the rows that have a window operation, each with it."""
    for row in rows:
        if row.slide is not None:
            yield row, row.slide


def _uneven_sizes(rows: list[LayerCost]) -> Iterator[str]:
    """Yield a notice for each layer that ignores pixels, and one for all that ignore only padding."""
    padding_only: list[str] = []
    for row, operation in _with_windows(rows):
        if operation.rounds_up:
            continue
        unused = [
            _unused_pixels(window, size)
            for window, size in zip(operation.windows, operation.input_size, strict=True)
        ]
        lost = [count - window.padding for window, count in zip(operation.windows, unused, strict=True)]
        if max(lost) > 0:
            side = 0 if lost[0] > 0 else 1
            parts = [
                f"{count} {noun}s" if count > 1 else noun
                for count, noun in zip(lost, ("row", "column"), strict=True)
                if count > 0
            ]
            verb = "are" if len(parts) > 1 or max(lost) > 1 else "is"
            yield (
                f"{row.name}: {_quotient(operation, side)} is not an integer: "
                f"the last {' and '.join(parts)} {verb} not covered by any window"
            )
        elif any(unused):
            side = 0 if unused[0] else 1
            padding_only.append(f"{row.name}: {_quotient(operation, side)}")
    if padding_only:
        others = len(padding_only) - 1
        more = f" (nor in {others} more layer{'s' if others > 1 else ''})" if others else ""
        yield f"{padding_only[0]} is not an integer{more}: only zero padding is not covered by any window"


def _unused_pixels(window: Window, size: int) -> int:
    """Return how many of the last pixels no window covers, without the gaps between windows."""
    remainder = (size + 2 * window.padding - window.effective_size) % window.stride
    return max(0, remainder - max(0, window.stride - window.effective_size))


def _quotient(operation: WindowOperation, side: int) -> str:
    """Return (W - F + 2P)/S with its numbers."""
    window, size = operation.windows[side], operation.input_size[side]
    padding = f" + 2·{window.padding}" if window.padding else ""
    return f"({size} - {window.effective_size}{padding})/{window.stride}"


def _large_filters(rows: list[LayerCost]) -> Iterator[str]:
    convolutions = [(row, used) for row, used in _with_windows(rows) if used.is_convolution]
    large = [
        row
        for row, used in convolutions[1:]
        if min(window.kernel_size for window in used.windows) > 5
        and not used.depthwise
        and tuple(window.kernel_size for window in used.windows) != used.input_size
    ]
    if large:
        yield (
            f"{_names(large)}: filters larger than 5x5 after the first layer; three 3x3 have the receptive "
            "field of one 7x7, with 27·C² weights instead of 49·C²"
        )


def _large_pools(rows: list[LayerCost]) -> Iterator[str]:
    large = [
        row
        for row, used in _with_windows(rows)
        if not used.is_convolution
        and row.kind.partition(" ")[2].startswith("pool")
        and max(window.kernel_size for window in used.windows) > 3
        and tuple(window.kernel_size for window in used.windows) != used.input_size
    ]
    if large:
        yield f"{_names(large)}: pooling windows larger than 3x3 discard most of the feature map"


def _names(rows: list[LayerCost]) -> str:
    names = ", ".join(row.name for row in rows[:3])
    return f"{names} and {len(rows) - 3} more" if len(rows) > 3 else names
