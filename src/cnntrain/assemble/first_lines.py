"""The lines printed before training, and notices of what may be unexpected."""

from __future__ import annotations

import os

from torch import nn

from ..data.batches import Batches
from ..data.image_set import FileImages, MemoryImages
from ..data.readers import usable_workers
from ..data.splits import Splits
from ..optim.optimizer_stages import OptimizerStages
from ..settings.config_tree import Config
from ..settings.fields import describe_changes
from ..settings.network_input import NetworkInput
from ..training.training_step import TrainingStep


def first_lines(
    config: Config,
    splits: Splits,
    train: Batches,
    network_input: NetworkInput,
    step: TrainingStep,
    steps_per_epoch: int,
    data_messages: list[str],
    network_messages: list[str],
) -> list[str]:
    """Return the lines on data, network, optimizer and device, then the notices.

    data_messages and network_messages: lines of the preprocessing and of the initialization.
    """
    network = step.network
    notices = [*network_input.notices(), *_dropout_notices(config, network)]
    notices += _data_notices(config, splits, train)
    return [
        data_line(config, splits),
        *_batch_lines(config, train, steps_per_epoch),
        *_cache_lines(splits),
        *([f"crops     {train.crops.description()}"] if train.crops is not None else []),
        *data_messages,
        f"network   {describe_changes(config.model)}: {step.update.parameter_count()} parameters",
        *network_messages,
        *_fine_tuning(config, network),
        *_optimizer_changes(step.update.optimizers, steps_per_epoch),
        f"device    {step.compute.describe(config.trainer.processes)}",
        *(f"notice    {notice}" for notice in notices),
    ]


def data_line(config: Config, splits: Splits) -> str:
    """Return the line on the data set: its images, their size, and the kind of their labels."""
    height, width, channels = splits.train.shape
    return (
        f"data      {config.data.name}: {len(splits.train)} train, {len(splits.val)} val, "
        f"{len(splits.test)} test images of {height}x{width}x{channels}, "
        f"{len(splits.names)} {config.data.target_kind()}"
    )


def _cache_lines(splits: Splits) -> list[str]:
    """Return a line on the cache of decoded images if there is one."""
    images = splits.train.files if isinstance(splits.train, MemoryImages) else splits.train
    cached = images.cached if isinstance(images, FileImages) else None
    return [] if cached is None or cached.problem is not None else [f"cache     decoded images in {cached}"]


def _batch_lines(config: Config, train: Batches, steps_per_epoch: int) -> list[str]:
    """Return a line on the number of images per update where it was chosen for the data."""
    if config.data.batch_size != "auto":
        return []
    size, steps = train.batch_size, config.trainer.accumulate_steps
    each = f"{steps} batches of up to {size // steps}" if steps > 1 else f"up to {size}"
    return [f"batches   {each} images per update, {steps_per_epoch} updates per epoch"]


def _fine_tuning(config: Config, network: nn.Module) -> list[str]:
    """Return lines on learning rates that differ between layers, and on epochs of the head alone."""
    model, lines = config.model, []
    if model.layer_decay != 1:
        layers = max(model.layer_depths(network).values())
        first = f"{model.layer_decay**layers:.2g}·lr in the first of {layers} layers"
        lines.append(
            f"rates     {first}, {model.layer_decay:g}·lr in the last, {model.head_lr:g}·lr in the head"
        )
    if model.head_epochs:
        epochs = "epoch 1" if model.head_epochs == 1 else f"epochs 1 to {model.head_epochs}"
        lines.append(f"head      trained alone in {epochs}")
    return lines


def _optimizer_changes(optimizers: OptimizerStages, steps_per_epoch: int) -> list[str]:
    """Return one line for each change of the optimizer within the run (O11)."""
    names = [type(stage.optimizer).__name__ for stage in optimizers.stages]
    return [
        f"optimizer {before} until epoch {stage.from_step / steps_per_epoch:g}, then {after}"
        for before, after, stage in zip(names, names[1:], optimizers.stages[1:], strict=False)
    ]


def _data_notices(config: Config, splits: Splits, train: Batches) -> list[str]:
    """Return notices of splits or classes without images, and of processes that cannot read images."""
    notices = list(splits.notices)
    if config.data.val_fraction > 0 and config.data.folds is None and not len(splits.val):
        reason = f"data.val_fraction={config.data.val_fraction:g} of the {len(splits.train)} training images "
        reason += "is less than one"
        if config.data.split_rule() == "hash":
            reason = "no class has two training images or groups"
        notices.append(f"no validation images, as {reason}")
    for split, missing in splits.missing_classes().items():
        if missing:
            name = {"train": "training", "val": "validation", "test": "test"}[split]
            more = f" and {len(missing) - 10} more" if len(missing) > 10 else ""
            notices.append(f"no images of {', '.join(missing[:10])}{more} in the {name} split")
    if train.crops is not None and train.crops.cached is not None and train.crops.cached.problem is not None:
        notices.append(f"data.cache: {train.crops.cached.problem}")
    workers = splits.train.workers if isinstance(splits.train, FileImages) else 0
    if workers > (cores := os.cpu_count() or 1):
        notices.append(f"data.workers={workers}: more processes than this machine's {cores} cores")
    if workers and not usable_workers(splits.train, train.batch_size):
        notices.append(
            f"data.workers={workers}: /dev/shm has too little shared memory for them, so images are read "
            "without them; enlarge it (docker run --shm-size=1g), or write data.workers=0"
        )
    return notices


def _dropout_notices(config: Config, network: nn.Module) -> list[str]:
    """Return a notice if dropout precedes the scores of a squared-distance loss (C5)."""
    rates: list[float] = []
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            rates.clear()  # dropout before a convolution does not directly precede the scores
        elif isinstance(layer, nn.Dropout) and layer.p > 0:
            rates.append(layer.p)
    if not config.loss.is_squared_distance or not rates:
        return []
    return [
        f"dropout {max(rates):g} before loss={config.loss.name}: dropped units change the size of the "
        "scores from step to step, which a squared distance counts as error; regularization.dropout=0 is "
        "usually better"
    ]
