"""Memory needed to train and to predict (M2), measured by running the real training step on fake tensors.

The training step of the run (preprocessing, forward pass in the run's precision, loss, backward pass,
update) runs on fake tensors, which have shapes, types and storages but no memory. When an operation creates
a storage its bytes are added; they are subtracted when the last tensor using it is freed; the largest sum is
the peak. So nothing is assumed about what an operation saves for its gradient, or an optimizer in its
state. The temporary memory of kernels is in WORKSPACES.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from ..assemble.parts import build_step, training_batches
from ..augmentation.settings import Transforms
from ..data.image_set import MemoryImages
from ..loss.class_losses import ClassCriterion
from ..loss.criterion import Criterion
from ..model.fine_tuning import training_mode
from ..optim.settings import Sgd
from ..preprocessing.preprocess import Preprocess
from ..settings.config_tree import Config
from ..settings.network_input import NetworkInput
from ..training.device import Compute
from ..training.training_step import TrainingStep
from ..without_compiler import DispatchMode
from .heap_fragmentation import Heap, glibc
from .receptive_field import Arguments, arguments_of, tensors_in

# Updates of fused optimizers write into existing tensors only. For want of a rule for tensors without memory,
# torch would make real ones of all weights.
FUSED_UPDATES = {f"aten::_fused_{name}_" for name in ("adagrad", "adam", "adamw", "sgd")}
# From the second step on, the optimizer's state and the previous batch are allocated.
STEPS = 2
# The heap stops growing after a few steps; its size is random, so the median of several tries is taken.
HEAP_STEPS, HEAP_TRIES = 4, 3
CUDA_BLOCK = 512


@dataclass(frozen=True)
class TrainingMemory:
    """Bytes in training with batches of batch_size.

    batch: the images as stored and as the network's input. activations: saved for the backward pass,
    including weights cast to the run's precision. peak: the maximum of live memory.
    """

    batch_size: int
    parameters: int
    gradients: int
    optimizer_state: int
    batch: int
    activations: int
    peak: int


class Simulation:
    """Training and prediction of one network on one device with fake tensors."""

    def __init__(
        self,
        config: Config,
        network: nn.Module,
        compute: Compute,
        network_input: NetworkInput,
        criterion: Criterion,
    ):
        """Replace the weights of `network`, which may be on the meta device, by fake ones, in place."""
        self.config = _without_values(config)
        self.compute = compute
        self.network_input = network_input
        self.criterion = criterion
        self.network = network
        self._fake = FakeTensorMode(allow_non_fake_inputs=True)
        with self._fake:
            _materialize(network, compute)
            _materialize(criterion, compute)

    def training(self, batch_size: int) -> TrainingMemory:
        """Return the memory of training with batches of `batch_size`."""
        tracker, step = self._train(batch_size, STEPS, None)
        state = tensors_in([stage.optimizer.state_dict() for stage in step.update.optimizers.stages])
        weights = list(self.network.parameters())
        network_input = self.network_input
        images = batch_size * self.config.trainer.accumulate_steps * math.prod(network_input.image)
        inputs = 4 * batch_size * math.prod(network_input.shape)
        return TrainingMemory(
            batch_size,
            parameters=_bytes([*weights, *self.network.buffers()]),
            gradients=_bytes([weight for weight in weights if weight.requires_grad]),
            optimizer_state=_bytes(list(state)),
            batch=images + inputs,
            activations=tracker.before_backward - tracker.at_step - inputs,
            peak=tracker.peak,
        )

    def resident(self, batch_size: int) -> int | None:
        """Return the peak of training with heap fragmentation in bytes, None if not on a CPU with glibc.

        It differs a little from call to call, as it does in training.
        """
        library = glibc() if self.compute.device.type == "cpu" else None
        if library is None:
            return None
        sizes = []
        for _ in range(HEAP_TRIES):
            heap = Heap(library)
            self._train(batch_size, HEAP_STEPS, heap)
            sizes.append(heap.covered)
            heap.clear()
        return int(statistics.median(sizes))

    def prediction(self, batch_size: int) -> int:
        """Return the peak of predicting batches of `batch_size` in bytes, weights included."""
        network, compute = self.network, self.compute
        network.eval()
        with self._fake, torch.no_grad():
            tracker = self._tracker(None)
            with tracker:
                preprocess = self._preprocess()
                shape = (batch_size, *self.network_input.image)
                inputs = preprocess(torch.empty(shape, dtype=torch.uint8, device=compute.device))
                with compute.autocast():
                    network(inputs)
        return tracker.peak

    def _train(
        self, batch_size: int, steps: int, heap: Heap | None
    ) -> tuple[_AllocationTracker, TrainingStep]:
        """Run `steps` training steps; return the tracker and the training step."""
        config, compute = self.config, self.compute
        data = dataclasses.replace(config.data, batch_size=batch_size)
        config = dataclasses.replace(config, data=data)
        with self._fake, torch.random.fork_rng(devices=[]):
            count = steps * batch_size * config.trainer.accumulate_steps
            images = torch.empty((count, *self.network_input.image), dtype=torch.uint8)
            batches = training_batches(config, MemoryImages(images, self._labels(count)), compute.device)
            training_mode(self.network)
            tracker = self._tracker(heap)
            with tracker:
                step = build_step(config, self.network, self._preprocess(), self.criterion, compute, steps)
                for number, (batch, labels) in enumerate(batches.epoch(0, 0, steps)):
                    tracker.start_step()
                    step.run(number, batch, labels, recording=False)
        return tracker, step

    def _tracker(self, heap: Heap | None) -> _AllocationTracker:
        tracker = _AllocationTracker(self.compute.device, heap)
        tracker.add([*self.network.parameters(), *self.network.buffers()])
        return tracker

    def _labels(self, count: int) -> Tensor:
        if isinstance(self.criterion, ClassCriterion):
            return torch.zeros(count, dtype=torch.int64)
        return torch.zeros(count, len(self.criterion.names))

    def _preprocess(self) -> Preprocess:
        settings, network_input = self.config.preprocessing, self.network_input
        shapes = settings.buffer_shapes(network_input)
        buffers = {name: torch.ones(shape) for name, shape in shapes.items()}
        preprocess: Preprocess = settings.restore(buffers, network_input)
        return preprocess.to(self.compute.device)


def _without_values(config: Config) -> Config:
    """Return a configuration without the parts that need values.

    These are torch.compile, augmentation policies, and an augmentation and an optimizer of the user's own.
    """
    changes: dict[str, Any] = {"trainer": dataclasses.replace(config.trainer, compile=False)}
    if config.augmentation.name == "custom":
        changes["augmentation"] = Transforms()
    if config.optim.name == "custom":
        changes["optim"] = Sgd(momentum=0.0)
    if isinstance(config.augmentation, Transforms):
        changes["augmentation"] = dataclasses.replace(config.augmentation, policy="none")
    return dataclasses.replace(config, **changes)


class _AllocationTracker(DispatchMode):
    """Sums the bytes of all live storages as operations create them and tensors are freed."""

    def __init__(self, device: torch.device, heap: Heap | None):
        super().__init__()
        self.device = device
        self.heap = heap
        self.live = self.peak = 0
        self.at_step = self.before_backward = 0
        self._in_backward = False
        self._blocks = 0
        self._tracked: set[int] = set()

    def add(self, tensors: list[Tensor]) -> None:
        """Count tensors that exist already."""
        for tensor in tensors:
            self._track(tensor)

    def start_step(self) -> None:
        """Record the live memory at the start of a training step."""
        self.at_step, self._in_backward = self.live, False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default:
            return args[0].dtype == torch.bool  # the loss is finite, and no updates are skipped
        if self.heap is not None:
            self.heap.flush()
        if not self._in_backward and torch._C._current_graph_task_id() != -1:
            self._in_backward, self.before_backward = True, self.live
        if func._schema.name in FUSED_UPDATES:
            return None
        result = func(*args, **(kwargs or {}))
        for tensor in tensors_in(result):
            self._track(tensor)
        workspace = WORKSPACES.get(func._schema.name) if self.device.type == "cpu" else None
        if workspace is not None:
            for sizes in workspace(arguments_of(func, args, kwargs or {})):
                self._use_workspace(sizes)
        return result

    def _track(self, tensor: Tensor) -> None:
        if tensor.device.type != self.device.type:
            return
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._tracked:
            return
        self._tracked.add(key)
        size = storage.nbytes()
        if self.device.type == "cuda":
            size = -(-size // CUDA_BLOCK) * CUDA_BLOCK
        block = self._allocate(size)
        weakref.finalize(storage, self._on_free, key, block, size)

    def _on_free(self, key: int, block: int, size: int) -> None:
        self._tracked.discard(key)
        self._free(block, size)

    def _use_workspace(self, sizes: list[int]) -> None:
        blocks = [(self._allocate(size), size) for size in sizes]
        for block, size in blocks:
            self._free(block, size)

    def _allocate(self, size: int) -> int:
        self._blocks += 1
        self.live += size
        self.peak = max(self.peak, self.live)
        if self.heap is not None:
            self.heap.allocate(self._blocks, size)
        return self._blocks

    def _free(self, block: int, size: int) -> None:
        self.live -= size
        if self.heap is not None:
            self.heap.free(block)


def _convolution(arguments: Arguments) -> list[list[int]]:
    return [[_bytes([arguments["weight"]])]]


def _convolution_backward(arguments: Arguments) -> list[list[int]]:
    weight = arguments["weight"]
    gradient = [_bytes([weight])]
    if weight.element_size() < 4:
        gradient.append(4 * weight.numel())
    return [[_bytes([weight])], gradient]


def _batch_norm_backward(arguments: Arguments) -> list[list[int]]:
    maps = arguments["input"]
    return [] if maps.is_contiguous() else [[_bytes([maps])]]


def _max_pool_backward(arguments: Arguments) -> list[list[int]]:
    if arguments["grad_output"].is_contiguous(memory_format=torch.channels_last):
        return []
    return [[_bytes([arguments["indices"]]), _bytes([arguments["self"]])]]


# Bytes that torch's CPU kernels allocate besides their results: one list per stage, of blocks live at the
# same time, as found in the profiler's record of allocations. oneDNN converts weights to a blocked layout for
# every convolution and accumulates their gradient in float32 in that layout; batch norm's gradient is made
# contiguous; for the gradient of max pooling, if it is from a flattened map, indices and result are copied to
# a contiguous layout.
WORKSPACES: dict[str, Callable[[Arguments], list[list[int]]]] = {
    "aten::convolution": _convolution,
    "aten::convolution_backward": _convolution_backward,
    "aten::native_batch_norm_backward": _batch_norm_backward,
    "aten::max_pool2d_with_indices_backward": _max_pool_backward,
}


def _bytes(tensors: list[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _materialize(network: nn.Module, compute: Compute) -> None:
    """Replace weights and buffers by fake ones on the run's device, in its memory format.

    Call under a FakeTensorMode. Shared weights stay shared.
    """
    replaced: dict[int, Tensor] = {}
    originals: list[Tensor] = []  # kept, as the id of a tensor that is gone may be given to another

    def fake(tensor: Tensor) -> Tensor:
        if id(tensor) not in replaced:
            originals.append(tensor)
            is_4d = tensor.ndim == 4
            new = torch.empty(
                tensor.shape,
                dtype=tensor.dtype,
                device=compute.device,
                memory_format=compute.memory_format if is_4d else torch.contiguous_format,
            )
            is_parameter = isinstance(tensor, nn.Parameter)
            replaced[id(tensor)] = nn.Parameter(new, tensor.requires_grad) if is_parameter else new
        return replaced[id(tensor)]

    for module in network.modules():
        dicts: list[Any] = [module._parameters, module._buffers]
        for tensors in dicts:
            for name, tensor in tensors.items():
                if tensor is not None:
                    tensors[name] = fake(tensor)
