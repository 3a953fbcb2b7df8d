"""Settings → objects, in the order in which a run passes through them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .checkpoint import State
from .config import stored
from .config.checks import whole_batch_problems
from .config.model import enlarged
from .config.root import Config
from .data.augmentation import build_augmentation
from .data.batches import Batches
from .data.images import ImageSet
from .data.preprocessing import Preprocess, build_preprocessing
from .data.splits import Splits
from .device import Compute, prepare
from .errors import ConfigError, DataError
from .loss.criterion import Criterion
from .model.layer_noise import scale_in_evaluation, skip_blocks
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

    suited = config.data.augmentation_default()
    augment = build_augmentation(config.augmentation, suited, splits.train)
    images_per_update = config.data.batch_size * config.trainer.accumulate_steps
    train = Batches(splits.train, images_per_update, compute.device, config.seed, augment)
    val = evaluation_batches(splits.val, config, compute) if len(splits.val) else None

    shown = config.augmentation.cropped((height, width))
    crop = None if shown == (height, width) else shown
    size = enlarged(config.model, shown)
    preprocess, notices = build_preprocessing(config.preprocessing, splits.train, size, crop)
    if size is not None:
        notices.append(
            f"images are enlarged from {shown[0]}x{shown[1]} to {size[0]}x{size[1]} for the network"
        )

    facts = config.loss.facts(splits.names, splits.train.labels) if state is None else state["loss"]
    criterion = build_criterion(config, splits.names, facts)
    if state is None:
        network, started = build_network(config, criterion, channels, size or shown)
    else:
        network, started = rebuild_network(config, criterion, channels, size or shown), []
    place(network, compute)
    preprocess.to(compute.device)
    criterion.to(compute.device)

    steps_per_epoch = min(len(train), config.trainer.max_steps_per_epoch or len(train))
    update = build_update(config, network, compute, steps_per_epoch)
    average = config.averaging.build(update.weights, steps_per_epoch, config.trainer.epochs)

    progress = Progress(**state["progress"]) if state is not None else Progress()
    recorder = Recorder(
        folder.path, config.logger, config.trainer.record_every_steps, progress.rows, progress.step
    )
    description = {
        "config": stored.to_yaml(config),
        "names": splits.names,
        "image_shape": [height, width, channels],
        "crop_size": None if crop is None else list(crop),
        "input_size": None if size is None else list(size),
        "precision": compute.precision,
    }
    trainer = Trainer(
        settings=config.trainer,
        seed=config.seed,
        compute=compute,
        network=network,
        preprocess=preprocess,
        criterion=criterion,
        update=update,
        average=average,
        strengths=config.regularization,
        train=train,
        val=val,
        checkpoints=folder.checkpoints,
        recorder=recorder,
        description=description,
    )
    if state is not None:
        trainer.load(state)
    lines = [
        f"data      {config.data.name}: {len(splits.train)} train, {len(splits.val)} val, "
        f"{len(splits.test)} test images of {height}x{width}x{channels}, "
        f"{len(splits.names)} {config.data.target_kind()}",
        f"network   {stored.shown(config.model)}: {count_parameters(network)} parameters",
        *started,
        f"device    {compute.describe()}",
        *(f"notice    {notice}" for notice in notices),
    ]
    return Assembled(trainer, splits, lines)


def evaluation_batches(images: ImageSet, config: Config, compute: Compute) -> Batches:
    """Return a split's batches for measuring, of the size of training unless evaluate.batch_size says."""
    return Batches(images, config.evaluate.batch_size or config.data.batch_size, compute.device)


def build_criterion(config: Config, names: list[str], facts: dict[str, Tensor]) -> Criterion:
    """Return the loss for classes, attributes or values of these names; `facts` as the loss found them."""
    criterion: Criterion = config.loss.build(names, facts, config.regularization.label_smoothing)
    return criterion


def build_network(
    config: Config, criterion: Criterion, channels: int, size: tuple[int, int]
) -> tuple[nn.Module, list[str]]:
    """Return the network of a new run, whose weights depend on the seed alone, and what to tell of them.

    Raises ConfigError where settings do not fit, DataError where trained weights cannot be had.
    """
    problems = config.model.problems(channels, criterion.outputs, size)
    if problems:
        raise ConfigError(problems)
    seed_torch(config.seed, "initialization")
    network = config.model.build(channels, criterion.outputs, size, config.regularization.dropout)
    _regularized(network, criterion, config)
    return network, config.initialization.apply(network, config.model.nonlinearity())


def rebuild_network(config: Config, criterion: Criterion, channels: int, size: tuple[int, int]) -> nn.Module:
    """Return the network of an earlier run for its checkpoint's weights; where they began is not read."""
    network: nn.Module = config.model.rebuild(
        channels, criterion.outputs, size, config.regularization.dropout
    )
    _regularized(network, criterion, config)
    return network


def _regularized(network: nn.Module, criterion: Criterion, config: Config) -> None:
    """Fit a network to its loss, and put in what regularization does inside it."""
    criterion.adopt(network)
    if config.regularization.dropout_kind == "plain":
        scale_in_evaluation(network)
    skip_blocks(network, config.regularization.stochastic_depth)


def build_update(config: Config, network: nn.Module, compute: Compute, steps_per_epoch: int) -> Update:
    """Return what carries gradients into a network's weights: penalties, optimizer, schedule, clipping."""
    weights = _for_optimizer(config.model.parameter_groups(network))
    epochs = config.trainer.epochs
    return Update(
        network,
        config.optim.stages(weights, compute.device.type in ("cpu", "cuda"), steps_per_epoch, epochs),
        Regularization(config.regularization, network),
        config.schedule.build(steps_per_epoch, epochs),
        config.trainer.max_grad_norm,
        compute.device,
        fp16=compute.precision == "fp16",
    )


def place(network: nn.Module, compute: Compute) -> None:
    """Move a network to the device of a run, in its memory format."""
    network.to(compute.device).to(memory_format=compute.memory_format)


def restored_preprocessing(state: State, device: torch.device) -> Preprocess:
    """Return the preprocessing stored in a checkpoint."""
    size, crop = (
        None if found is None else tuple(found) for found in (state["input_size"], state["crop_size"])
    )
    buffers = state["preprocess"]
    return Preprocess(buffers["scale"], buffers["shift"], size, crop).to(device)


def network_size(state: State) -> tuple[int, int]:
    """Return the (height, width) that the network of a checkpoint was built for."""
    height, width = state["input_size"] or state["crop_size"] or state["image_shape"][:2]
    return height, width


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
    if problems := list(whole_batch_problems(config, len(splits.train))):
        raise ConfigError(problems)
    needs_val = config.schedule.name == "plateau" or config.trainer.early_stopping_epochs is not None
    if needs_val and not len(splits.val):
        raise ConfigError(["data.val_fraction: no validation images; plateau and early stopping need them"])
    if len(splits.test) == 0:
        raise DataError(f"data={config.data.name}: the test split is empty")
