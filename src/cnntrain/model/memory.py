"""What memory a network takes to train and to predict (M2), found by running the real step without values.

The run's own training step (preprocessing, forward pass in the run's precision, loss, backward pass,
update) runs on fake tensors, which have shapes, types and storages, and no memory. Whenever an operation
makes a storage its bytes are added, and taken off when the last tensor that used it is gone; the largest
sum is the peak. So nothing is assumed about what an operation keeps for its gradient, or an optimizer for
its next step.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from ..config.root import Config
from ..data.augmentation import build_augmentation
from ..data.batches import Batches
from ..data.images import MemoryImages
from ..data.preprocessing import Preprocess
from ..device import Compute
from ..optim.update import Update
from ..regularization import Regularization
from ..trainer import Trainer
from .fine_tuning import training_mode
from .receptive_field import tensors_in

STEPS = 3


@dataclass(frozen=True)
class Subject:
    """What a network is fed: images (height, width, channels) as stored, their size at its input, classes."""

    shape: tuple[int, int, int]
    input_size: tuple[int, int]
    classes: int


@dataclass(frozen=True)
class TrainingMemory:
    """Bytes of one training step; activations are what the backward pass waits for."""

    batch_size: int
    parameters: int
    gradients: int
    optimizer_state: int
    batch: int
    activations: int
    peak: int


class Simulation:
    """Training and prediction of one network on one device, without values."""

    def __init__(self, config: Config, network: nn.Module, compute: Compute, subject: Subject):
        """Take over `network`, whose weights may be on the meta device; they get fake ones in their place."""
        self.config = config
        self.compute = compute
        self.subject = subject
        self.network = network
        self._fake = FakeTensorMode(allow_non_fake_inputs=True)
        with self._fake:
            _materialize(network, compute)

    def training(self, batch_size: int) -> TrainingMemory:
        """Return what a training step with batches of `batch_size` takes once it repeats."""
        config, compute, network = self.config, self.compute, self.network
        with self._fake, torch.random.fork_rng(devices=[]):
            height, width, channels = self.subject.shape
            count = STEPS * batch_size * config.trainer.accumulate_steps
            images = torch.empty((count, height, width, channels), dtype=torch.uint8)
            labels = torch.zeros(count, dtype=torch.int64)
            suited = config.data.augmentation_default()
            augment = build_augmentation(config.augmentation, suited, height, width)
            batches = Batches(
                MemoryImages(images, labels),
                batch_size * config.trainer.accumulate_steps,
                compute.device,
                config.seed,
                augment,
            )
            training_mode(network)
            tracker = _Tracker(compute.device)
            tracker.add([*network.parameters(), *network.buffers()])
            parameters = tracker.live
            with tracker:
                trainer = self._trainer()
                for batch_images, batch_labels in batches.epoch(0, 0, STEPS):
                    tracker.start_step()
                    trainer.train_step(batch_images, batch_labels, recording=False)
            state = sum(
                tensor.untyped_storage().nbytes()
                for entry in trainer.update.optimizer.state.values()
                for tensor in tensors_in(entry)
            )
            gradients = sum(
                weight.numel() * weight.element_size()
                for weight in network.parameters()
                if weight.requires_grad
            )
            images_bytes = batch_images.numel()
            inputs = (
                images_bytes // (height * width) * self.subject.input_size[0] * self.subject.input_size[1] * 4
            )
            return TrainingMemory(
                batch_size,
                parameters,
                gradients,
                state,
                images_bytes + inputs,
                tracker.before_backward - tracker.at_step - inputs,
                tracker.peak,
            )

    def prediction(self, batch_size: int) -> int:
        """Return the peak of a prediction with batches of `batch_size`, the weights included."""
        network, compute = self.network, self.compute
        network.eval()
        with self._fake, torch.no_grad():
            tracker = _Tracker(compute.device)
            tracker.add([*network.parameters(), *network.buffers()])
            preprocess = self._preprocess()
            with tracker:
                images = torch.empty(
                    (batch_size, *self.subject.shape), dtype=torch.uint8, device=compute.device
                )
                inputs = preprocess(images)
                with compute.autocast():
                    scores = network(inputs).float()
                del scores
            return tracker.peak

    def _preprocess(self) -> Preprocess:
        height, width, channels = self.subject.shape
        shape = (1, height, width, channels)
        size = None if self.subject.input_size == (height, width) else self.subject.input_size
        preprocess = Preprocess(torch.ones(shape), torch.zeros(shape), size)
        return preprocess.to(self.compute.device)

    def _trainer(self) -> Trainer:
        config, compute, network = self.config, self.compute, self.network
        groups = config.model.parameter_groups(network)
        weights = [{"params": weights} for weights, _ in groups]
        optimizer = config.optim.build(weights, fused=compute.device.type in ("cpu", "cuda"))
        update = Update(
            network,
            optimizer,
            Regularization(config.regularization, network, config.optim.own_weight_decay, groups),
            config.schedule.build(STEPS, config.trainer.epochs),
            config.optim.lr,
            config.trainer.max_grad_norm,
            compute.device,
            fp16=compute.precision == "fp16",
        )
        nothing = cast(Any, ())
        return Trainer(
            settings=config.trainer,
            seed=config.seed,
            compute=compute,
            network=network,
            preprocess=self._preprocess(),
            loss=config.loss.build(config.regularization.label_smoothing),
            update=update,
            train=nothing,
            val=None,
            checkpoints=nothing,
            recorder=nothing,
            description={},
            classes=self.subject.classes,
        )


class _Tracker(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the bytes of the storages that are alive, as operations make them and tensors die."""

    def __init__(self, device: torch.device):
        super().__init__()  # type: ignore[no-untyped-call]
        self.device = device
        self.live = 0
        self.peak = 0
        self.at_step = 0
        self.before_backward = 0
        self._in_backward = False
        self._known: set[int] = set()

    def add(self, tensors: list[Tensor]) -> None:
        """Count tensors that were there before."""
        for tensor in tensors:
            self._note(tensor)

    def start_step(self) -> None:
        """Note that a training step begins."""
        self.at_step, self._in_backward = self.live, False

    def _note(self, tensor: Tensor) -> None:
        if tensor.device.type != self.device.type:
            return
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._known:
            return
        self._known.add(key)
        size = storage.nbytes()
        self.live += size
        weakref.finalize(storage, self._freed, key, size)

    def _freed(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.live -= size

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.ops.aten._local_scalar_dense.default:
            return 1  # is the loss finite? It is.
        if not self._in_backward and torch._C._current_graph_task_id() != -1:
            self._in_backward, self.before_backward = True, self.live
        result = func(*args, **kwargs)
        for tensor in tensors_in(result):
            self._note(tensor)
        self.peak = max(self.peak, self.live)
        return result


def _materialize(network: nn.Module, compute: Compute) -> None:
    """Give a network fake weights on a device, in its memory format; call under a FakeTensorMode."""
    made: dict[int, Tensor] = {}

    def fake(tensor: Tensor) -> Tensor:
        if id(tensor) not in made:
            kept = tensor.to("meta")
            format_ = compute.memory_format if tensor.ndim == 4 else torch.contiguous_format
            new = torch.empty(kept.shape, dtype=kept.dtype, device=compute.device, memory_format=format_)
            made[id(tensor)] = (
                nn.Parameter(new, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else new
            )
        return made[id(tensor)]

    for module in network.modules():
        for tensors in (module._parameters, module._buffers):
            for name, tensor in tensors.items():
                if tensor is not None:
                    tensors[name] = fake(tensor)  # type: ignore[assignment]
