"""Settings → objects, in the order in which a run passes through them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .checkpoint import State
from .config import stored
from .config.model import enlarged
from .config.root import Config
from .data.augmentation import build_augmentation
from .data.batches import Batches
from .data.images import ImageSet
from .data.preprocessing import Preprocess, build_preprocessing
from .data.splits import Splits
from .device import Compute, prepare
from .errors import ConfigError, DataError
from .optim.update import LR_SCALE, Update
from .progress import Progress
from .recorder import Recorder
from .regularization import Regularization
from .run_folder import RunFolder
from .seeding import seed_torch
from .trainer import Trainer


@dataclass
class Assembled:
    """A run ready to train: its trainer, its data, and what to tell the user first."""

    trainer: Trainer
    splits: Splits
    lines: list[str]


def assemble(config: Config, folder: RunFolder, state: State | None) -> Assembled:
    """Build all parts of a run; `state` is the checkpoint it continues from, if it does.

    Raises ConfigError where settings do not fit the data, DataError where the data cannot be used.
    """
    compute = prepare(config.trainer)
    splits = config.data.load(config.seed)
    _check(config, splits)
    height, width, channels = splits.train.shape
    classes = len(splits.class_names)

    suited = config.data.augmentation_default()
    augment = build_augmentation(config.augmentation, suited, height, width)
    images_per_update = config.data.batch_size * config.trainer.accumulate_steps
    train = Batches(splits.train, images_per_update, compute.device, config.seed, augment)
    val = evaluation_batches(splits.val, config, compute) if len(splits.val) else None

    size = enlarged(config.model, (height, width))
    preprocess, notices = build_preprocessing(config.preprocessing, splits.train, size)
    if size is not None:
        notices.append(f"images are enlarged from {height}x{width} to {size[0]}x{size[1]} for the network")

    if state is None:
        network, started = build_network(config, channels, classes, size or (height, width))
    else:
        network, started = rebuild_network(config, channels, classes, size or (height, width)), []
    place(network, compute)
    preprocess.to(compute.device)
    loss = config.loss.build(config.regularization.label_smoothing)

    steps_per_epoch = min(len(train), config.trainer.max_steps_per_epoch or len(train))
    update = build_update(config, network, compute, steps_per_epoch)

    progress = Progress(**state["progress"]) if state is not None else Progress()
    recorder = Recorder(
        folder.path, config.logger, config.trainer.record_every_steps, progress.rows, progress.step
    )
    description = {
        "config": stored.to_yaml(config),
        "class_names": splits.class_names,
        "image_shape": [height, width, channels],
        "input_size": None if size is None else list(size),
        "precision": compute.precision,
    }
    trainer = Trainer(
        settings=config.trainer,
        seed=config.seed,
        compute=compute,
        network=network,
        preprocess=preprocess,
        loss=loss,
        update=update,
        train=train,
        val=val,
        checkpoints=folder.checkpoints,
        recorder=recorder,
        description=description,
        classes=classes,
    )
    if state is not None:
        trainer.load(state)
    lines = [
        f"data      {config.data.name}: {len(splits.train)} train, {len(splits.val)} val, "
        f"{len(splits.test)} test images of {height}x{width}x{channels}, {classes} classes",
        f"network   {stored.shown(config.model)}: {count_parameters(network)} parameters",
        *started,
        f"device    {compute.describe()}",
        *(f"notice    {notice}" for notice in notices),
    ]
    return Assembled(trainer, splits, lines)


def evaluation_batches(images: ImageSet, config: Config, compute: Compute) -> Batches:
    """Return a split's batches for measuring, of the size of training unless evaluate.batch_size says."""
    return Batches(images, config.evaluate.batch_size or config.data.batch_size, compute.device)


def build_network(
    config: Config, channels: int, classes: int, size: tuple[int, int]
) -> tuple[nn.Module, list[str]]:
    """Return the network of a new run, whose weights depend on the seed alone, and what to tell of them.

    Raises ConfigError where settings do not fit, DataError where trained weights cannot be had.
    """
    problems = config.model.problems(channels, classes, size)
    if problems:
        raise ConfigError(problems)
    seed_torch(config.seed, "initialization")
    network: nn.Module = config.model.build(channels, classes, size, config.regularization.dropout)
    return network, config.initialization.apply(network)


def rebuild_network(config: Config, channels: int, classes: int, size: tuple[int, int]) -> nn.Module:
    """Return the network of an earlier run for its checkpoint's weights; where they began is not read."""
    network: nn.Module = config.model.rebuild(channels, classes, size, config.regularization.dropout)
    return network


def build_update(config: Config, network: nn.Module, compute: Compute, steps_per_epoch: int) -> Update:
    """Return what carries gradients into a network's weights: penalties, optimizer, schedule, clipping."""
    groups = config.model.parameter_groups(network)
    return Update(
        network,
        config.optim.build(_for_optimizer(groups), fused=compute.device.type in ("cpu", "cuda")),
        Regularization(config.regularization, network, config.optim.own_weight_decay, groups),
        config.schedule.build(steps_per_epoch, config.trainer.epochs),
        config.optim.lr,
        config.trainer.max_grad_norm,
        compute.device,
        fp16=compute.precision == "fp16",
    )


def place(network: nn.Module, compute: Compute) -> None:
    """Move a network to the device of a run, in its memory format."""
    network.to(compute.device).to(memory_format=compute.memory_format)


def restored_preprocessing(state: State, device: torch.device) -> Preprocess:
    """Return the preprocessing stored in a checkpoint."""
    size = state["input_size"]
    buffers = state["preprocess"]
    preprocess = Preprocess(buffers["scale"], buffers["shift"], None if size is None else (size[0], size[1]))
    return preprocess.to(device)


def count_parameters(network: nn.Module) -> int:
    """Return the number of trainable parameters."""
    return sum(weight.numel() for weight in network.parameters() if weight.requires_grad)


def _for_optimizer(groups: list[tuple[list[Tensor], float]]) -> list[Tensor] | list[dict[str, Any]]:
    """Return weights as torch's optimizers take them: all alike, or in groups with a factor of lr each."""
    if len(groups) == 1 and groups[0][1] == 1:
        return groups[0][0]
    return [{"params": weights, LR_SCALE: scale} for weights, scale in groups]


def _check(config: Config, splits: Splits) -> None:
    """Raise what can be known only once the data are there."""
    images_per_update = config.data.batch_size * config.trainer.accumulate_steps
    if images_per_update > len(splits.train):
        written, most = config.data.batch_size, len(splits.train) // config.trainer.accumulate_steps
        raise ConfigError(
            [f"data.batch_size={written}: the training split has {len(splits.train)}; write at most {most}"]
        )
    needs_val = config.schedule.name == "plateau" or config.trainer.early_stopping_epochs is not None
    if needs_val and not len(splits.val):
        raise ConfigError(["data.val_fraction: no validation images; plateau and early stopping need them"])
    if len(splits.test) == 0:
        raise DataError(f"data={config.data.name}: the test split is empty")
