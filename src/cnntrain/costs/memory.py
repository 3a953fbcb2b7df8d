"""What memory a network takes to train and to predict (M2), found by running the real step without values.

The run's own training step (preprocessing, forward pass in the run's precision, loss, backward pass,
update) runs on fake tensors, which have shapes, types and storages, and no memory. Whenever an operation
makes a storage its bytes are added, and taken off when the last tensor that used it is gone; the largest
sum is the peak. So nothing is assumed about what an operation keeps for its gradient, or an optimizer for
its next step. What kernels take for themselves while they run is in WORKSPACES.
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
from torch.utils._python_dispatch import TorchDispatchMode

from ..assemble import build_step, training_batches
from ..augmentation.settings import Transforms
from ..data.images import MemoryImages
from ..loss.classes import ClassCriterion
from ..loss.criterion import Criterion
from ..model.fine_tuning import training_mode
from ..preprocessing.preprocess import Preprocess
from ..settings.network_input import NetworkInput
from ..settings.tree import Config
from ..training.device import Compute
from ..training.step import TrainingStep
from .heap import Heap, glibc
from .receptive_field import Arguments, arguments_of, tensors_in

# The second step is the first with the optimizer's state and with the batch before it still there.
STEPS = 2
# A heap has found its size after a few steps, and chance has its part in it.
HEAP_STEPS, HEAP_TRIES = 4, 3
CUDA_BLOCK = 512


@dataclass(frozen=True)
class TrainingMemory:
    """Bytes in training with batches of batch_size.

    batch: the images as stored and as the network's input. activations: what the backward pass waits for,
    weights in the run's precision among it. peak: the most that is alive at once.
    """

    batch_size: int
    parameters: int
    gradients: int
    optimizer_state: int
    batch: int
    activations: int
    peak: int


class Simulation:
    """Training and prediction of one network on one device, without values."""

    def __init__(
        self,
        config: Config,
        network: nn.Module,
        compute: Compute,
        network_input: NetworkInput,
        criterion: Criterion,
    ):
        """Take over `network`, whose weights may be on the meta device and are replaced by fake ones."""
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
        """Return what training with batches of `batch_size` takes."""
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
        """Return what the heap of this system makes of a training's peak, None where it has no say.

        It differs a little from call to call, as training does.
        """
        library = glibc() if self.compute.device.type == "cpu" else None
        if library is None:
            return None
        found = []
        for _ in range(HEAP_TRIES):
            heap = Heap(library)
            self._train(batch_size, HEAP_STEPS, heap)
            found.append(heap.covered)
            heap.clear()
        return int(statistics.median(found))

    def prediction(self, batch_size: int) -> int:
        """Return the peak of predicting batches of `batch_size`, the weights included."""
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
        """Make `steps` training steps; return what was tracked, and the step."""
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
    """Return a configuration without what needs values: torch.compile, and policies of augmentation."""
    changed: dict[str, Any] = {"trainer": dataclasses.replace(config.trainer, compile=False)}
    if isinstance(config.augmentation, Transforms):
        changed["augmentation"] = dataclasses.replace(config.augmentation, policy="none")
    return dataclasses.replace(config, **changed)


class _AllocationTracker(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the bytes of the storages that are alive, as operations make them and tensors die."""

    def __init__(self, device: torch.device, heap: Heap | None):
        super().__init__()  # type: ignore[no-untyped-call]
        self.device = device
        self.heap = heap
        self.live = self.peak = 0
        self.at_step = self.before_backward = 0
        self._in_backward = False
        self._blocks = 0
        self._known: set[int] = set()

    def add(self, tensors: list[Tensor]) -> None:
        """Count tensors that were there before."""
        for tensor in tensors:
            self._note(tensor)

    def start_step(self) -> None:
        """Note that a training step begins."""
        self.at_step, self._in_backward = self.live, False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default:
            return args[0].dtype == torch.bool  # is the loss finite? It is. Were updates skipped? None.
        if self.heap is not None:
            self.heap.settle()
        if not self._in_backward and torch._C._current_graph_task_id() != -1:
            self._in_backward, self.before_backward = True, self.live
        result = func(*args, **(kwargs or {}))
        for tensor in tensors_in(result):
            self._note(tensor)
        workspace = WORKSPACES.get(func._schema.name) if self.device.type == "cpu" else None
        if workspace is not None:
            for sizes in workspace(arguments_of(func, args, kwargs or {})):
                self._work(sizes)
        return result

    def _note(self, tensor: Tensor) -> None:
        if tensor.device.type != self.device.type:
            return
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._known:
            return
        self._known.add(key)
        size = storage.nbytes()
        if self.device.type == "cuda":
            size = -(-size // CUDA_BLOCK) * CUDA_BLOCK
        block = self._allocate(size)
        weakref.finalize(storage, self._freed, key, block, size)

    def _freed(self, key: int, block: int, size: int) -> None:
        self._known.discard(key)
        self._free(block, size)

    def _work(self, sizes: list[int]) -> None:
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


def _convolution(given: Arguments) -> list[list[int]]:
    return [[_bytes([given["weight"]])]]


def _convolution_backward(given: Arguments) -> list[list[int]]:
    weight = given["weight"]
    gradient = [_bytes([weight])]
    if weight.element_size() < 4:
        gradient.append(4 * weight.numel())
    return [[_bytes([weight])], gradient]


def _batch_norm_backward(given: Arguments) -> list[list[int]]:
    maps = given["input"]
    return [] if maps.is_contiguous() else [[_bytes([maps])]]


def _max_pool_backward(given: Arguments) -> list[list[int]]:
    if given["grad_output"].is_contiguous(memory_format=torch.channels_last):
        return []
    return [[_bytes([given["indices"]]), _bytes([given["self"]])]]


# What torch's kernels on CPUs allocate beside their results, bytes alive together, one list a stage; seen in
# the profiler's record of allocations. oneDNN brings weights into blocked order for every convolution, and
# sums their gradient in float32 in that order; batch norm's gradient is made contiguous; the gradient of max
# pooling, where it comes from a flattened map, has its indices and its result copied into plain order.
WORKSPACES: dict[str, Callable[[Arguments], list[list[int]]]] = {
    "aten::convolution": _convolution,
    "aten::convolution_backward": _convolution_backward,
    "aten::native_batch_norm_backward": _batch_norm_backward,
    "aten::max_pool2d_with_indices_backward": _max_pool_backward,
}


def _bytes(tensors: list[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _materialize(network: nn.Module, compute: Compute) -> None:
    """Give a network fake weights on a device, in its memory format; call under a FakeTensorMode."""
    made: dict[int, Tensor] = {}

    def fake(tensor: Tensor) -> Tensor:
        if id(tensor) not in made:
            is_map = tensor.ndim == 4
            new = torch.empty(
                tensor.shape,
                dtype=tensor.dtype,
                device=compute.device,
                memory_format=compute.memory_format if is_map else torch.contiguous_format,
            )
            weight = isinstance(tensor, nn.Parameter)
            made[id(tensor)] = nn.Parameter(new, tensor.requires_grad) if weight else new
        return made[id(tensor)]

    for module in network.modules():
        tables: list[Any] = [module._parameters, module._buffers]
        for tensors in tables:
            for name, tensor in tensors.items():
                if tensor is not None:
                    tensors[name] = fake(tensor)
