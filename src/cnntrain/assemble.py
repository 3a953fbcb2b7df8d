"""Settings → objects, in the order in which a run passes through them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .checkpoint import State
from .config import stored
from .config.checks import whole_batch_problems
from .config.network_input import NetworkInput, input_problems, network_input
from .config.root import Config
from .data.augmentation import build_augmentation
from .data.batches import Batches
from .data.images import ImageSet
from .data.preprocessing import Preprocess, build_preprocessing, restore
from .data.splits import Splits
from .device import Compute, prepare
from .errors import ConfigError, DataError
from .loss.criterion import Criterion
from .model.layer_noise import scale_in_evaluation, skip_blocks
from .optim.stages import Rates
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
    way = input_of(config, splits.train.shape)

    suited = config.data.augmentation_default()
    augment = build_augmentation(config.augmentation, suited, splits.train)
    images_per_update = config.data.batch_size * config.trainer.accumulate_steps
    train = Batches(splits.train, images_per_update, compute.device, config.seed, augment)
    val = evaluation_batches(splits.val, config, compute) if len(splits.val) else None

    if state is None:
        learnt = config.loss.facts(splits.names, splits.train.labels)
        criterion = build_criterion(config, splits.names, learnt)
        network, started = build_network(config, criterion, way)
        preprocess, told = build_preprocessing(config.preprocessing, splits.train, way)
    else:
        criterion = build_criterion(config, splits.names, state["loss"])
        network, started = rebuild_network(config, criterion, way), []
        preprocess, told = restored_preprocessing(config, state, compute.device), []
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
        "image_shape": list(splits.train.shape),
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
    height, width, channels = splits.train.shape
    lines = [
        f"data      {config.data.name}: {len(splits.train)} train, {len(splits.val)} val, "
        f"{len(splits.test)} test images of {height}x{width}x{channels}, "
        f"{len(splits.names)} {config.data.target_kind()}",
        *told,
        f"network   {stored.shown(config.model)}: {count_parameters(network)} parameters",
        *started,
        *_changes(update.rates, steps_per_epoch),
        f"device    {compute.describe()}",
        *(f"notice    {notice}" for notice in (*way.notices(), *_dropout_notices(config, network))),
    ]
    return Assembled(trainer, splits, lines)


def _changes(rates: Rates, steps_per_epoch: int) -> list[str]:
    """Return a line where the optimizer changes within the run (O11)."""
    names = [type(stage.optimizer).__name__ for stage in rates.stages]
    return [
        f"optimizer {before} until epoch {stage.from_step / steps_per_epoch:g}, then {after}"
        for before, after, stage in zip(names, names[1:], rates.stages[1:], strict=False)
    ]


def _dropout_notices(config: Config, network: nn.Module) -> list[str]:
    """Return a line where scores that a squared distance measures come after dropout (C5)."""
    rates: list[float] = []
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            rates.clear()  # dropout before a convolution is not before the scores
        elif isinstance(layer, nn.Dropout) and layer.p > 0:
            rates.append(layer.p)
    if config.loss.name not in ("l2", "one_hot_error") or not rates:
        return []
    return [
        f"dropout {max(rates):g} before loss={config.loss.name}: what is dropped changes the size of the "
        "scores from step to step, which a squared distance takes for error; regularization.dropout=0 is "
        "usually better"
    ]


def evaluation_batches(images: ImageSet, config: Config, compute: Compute) -> Batches:
    """Return a split's batches for measuring, of the size of training unless evaluate.batch_size says."""
    return Batches(images, config.evaluate.batch_size or config.data.batch_size, compute.device)


def build_criterion(config: Config, names: list[str], facts: dict[str, Tensor]) -> Criterion:
    """Return the loss for classes, attributes or values of these names; `facts` as the loss found them."""
    criterion: Criterion = config.loss.build(names, facts, config.regularization.label_smoothing)
    return criterion


def input_of(config: Config, image: tuple[int, int, int]) -> NetworkInput:
    """Return how images (height, width, channels) come to the network; raises ConfigError if they cannot."""
    if problems := input_problems(config, image):
        raise ConfigError(problems)
    return network_input(config, image)


def build_network(config: Config, criterion: Criterion, way: NetworkInput) -> tuple[nn.Module, list[str]]:
    """Return the network of a new run, whose weights depend on the seed alone, and what to tell of them.

    Raises ConfigError where settings do not fit, DataError where trained weights cannot be had.
    """
    problems = config.model.problems(way.channels, criterion.outputs, way.size)
    if problems:
        raise ConfigError(problems)
    seed_torch(config.seed, "initialization")
    dropout = config.regularization.dropout
    network = config.model.build(way.channels, criterion.outputs, way.size, dropout)
    _regularized(network, criterion, config)
    return network, config.initialization.apply(network, config.model.nonlinearity())


def rebuild_network(config: Config, criterion: Criterion, way: NetworkInput) -> nn.Module:
    """Return the network of an earlier run for its checkpoint's weights; where they began is not read."""
    dropout = config.regularization.dropout
    network: nn.Module = config.model.rebuild(way.channels, criterion.outputs, way.size, dropout)
    _regularized(network, criterion, config)
    return network


def _regularized(network: nn.Module, criterion: Criterion, config: Config) -> None:
    """Fit a network to its loss, and put in what regularization does inside it."""
    criterion.adopt(network)
    if config.regularization.dropout_kind == "plain":
        scale_in_evaluation(network)
    skip_blocks(network, config.regularization.stochastic_depth)


def build_update(config: Config, network: nn.Module, compute: Compute, steps_per_epoch: int) -> Update:
    """Return what carries gradients into a network's weights: penalties, optimizers, schedule, clipping."""
    weights = _for_optimizer(config.model.parameter_groups(network))
    fused = compute.device.type in ("cpu", "cuda")
    return Update(
        network,
        build_rates(config, weights, fused, steps_per_epoch),
        Regularization(config.regularization, network),
        config.trainer.max_grad_norm,
        compute.device,
        fp16=compute.precision == "fp16",
    )


def build_rates(
    config: Config, weights: list[Tensor] | list[dict[str, Any]], fused: bool, steps_per_epoch: int
) -> Rates:
    """Return the optimizers of a run over these weights, with their schedule."""
    epochs = config.trainer.epochs
    stages = config.optim.stages(weights, fused, steps_per_epoch, epochs)
    return Rates(stages, config.schedule.build(steps_per_epoch, epochs))


def place(network: nn.Module, compute: Compute) -> None:
    """Move a network to the device of a run, in its memory format."""
    network.to(compute.device).to(memory_format=compute.memory_format)


def restored_preprocessing(config: Config, state: State, device: torch.device) -> Preprocess:
    """Return the preprocessing stored in a checkpoint."""
    way = network_input(config, tuple(state["image_shape"]))
    return restore(config.preprocessing, state["preprocess"], way).to(device)


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
