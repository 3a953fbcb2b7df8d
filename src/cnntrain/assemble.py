"""Builds the objects of a run from its settings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .config import stored_config
from .config.cross_checks import whole_batch_problems
from .config.resolve_network_input import input_problems, resolve_network_input
from .data.batches import Batches, usable_workers
from .data.fingerprint import check_fingerprint, fingerprint
from .data.image_set import FileImages, ImageSet
from .data.splits import Splits
from .errors import ConfigError, DataError
from .initialization.from_run import SourceRun
from .loss.criterion import Criterion
from .optim.optimizer_stages import LR_SCALE, OptimizerStages
from .preprocessing.preprocess import Preprocess
from .runs.checkpoint import State
from .runs.checkpoint_schema import check_structure, reading
from .runs.file_names import LAST
from .runs.metrics_file import Recorder
from .runs.run_folder import RunFolder
from .runs.run_progress import Progress
from .seeding import seed_torch
from .settings.config_tree import Config
from .settings.fields import describe_changes
from .settings.network_input import NetworkInput
from .training.device import Compute, move_to_device, prepare
from .training.trainer import Trainer
from .training.training_step import TrainingStep
from .training.weight_update import Update

# Images per chunk for color statistics.
COLOR_CHUNK = 128


@dataclass
class Assembled:
    """A run ready to train: its trainer, its data, and the first lines to print."""

    trainer: Trainer
    splits: Splits
    messages: list[str]


def assemble(config: Config, folder: RunFolder, state: State | None) -> Assembled:
    """Build all parts of a run; `state` is the checkpoint that it continues from, None for a new run.

    Raises ConfigError if settings do not fit the data, DataError if the data cannot be used.
    """
    source = str(folder.checkpoints.folder / LAST)
    compute = prepare(config.trainer, None if state is None else state.get("threads"))
    splits = config.data.load(config.seed)
    check_splits(config, splits)
    data = fingerprint(splits)
    if state is not None:
        check_data(state, data, folder.path)
    network_input = checked_network_input(config, splits.train.shape)

    train = training_batches(config, splits.train, compute.device)
    val = evaluation_batches(splits.val, config, compute) if len(splits.val) else None

    if state is None:
        statistics = config.loss.label_statistics(splits.names, splits.train.labels)
        criterion = build_criterion(config, splits.names, statistics)
        network, network_messages = build_network(config, criterion, network_input)
        preprocess, data_messages = config.preprocessing.fit(splits.train, network_input)
    else:
        criterion = restore_criterion(config, splits.names, state, source)
        network, network_messages = rebuild_network(config, criterion, network_input), []
        preprocess, data_messages = restore_preprocessing(config, state, source), []
    move_to_device(network, compute)
    preprocess.to(compute.device)
    criterion.to(compute.device)

    steps_per_epoch = min(len(train), config.trainer.max_steps_per_epoch or len(train))
    step = build_step(config, network, preprocess, criterion, compute, steps_per_epoch)

    if state is not None:
        step.load(state, source)
        check_structure(state["sums"], torch.zeros(4), "sums", source)
    progress = Progress(**state["progress"]) if state is not None else Progress()
    logger = config.logger.build(folder.path, progress.step)
    recorder = Recorder(folder.metrics, progress.rows, logger, config.trainer.record_every_steps)
    description = {
        "config": stored_config.to_yaml(config),
        "names": splits.names,
        "image_shape": list(splits.train.shape),
        "data": data,
        "precision": compute.precision,
        "threads": torch.get_num_threads(),
    }
    trainer = Trainer(config.trainer, step, train, val, folder.checkpoints, recorder, description)
    if state is not None:
        trainer.load(state)

    height, width, channels = splits.train.shape
    notices = [*network_input.notices(), *_dropout_notices(config, network), *_data_notices(splits, train)]
    messages = [
        f"data      {config.data.name}: {len(splits.train)} train, {len(splits.val)} val, "
        f"{len(splits.test)} test images of {height}x{width}x{channels}, "
        f"{len(splits.names)} {config.data.target_kind()}",
        *data_messages,
        f"network   {describe_changes(config.model)}: {count_parameters(network)} parameters",
        *network_messages,
        *_optimizer_changes(step.update.optimizers, steps_per_epoch),
        f"device    {compute.describe()}",
        *(f"notice    {notice}" for notice in notices),
    ]
    return Assembled(trainer, splits, messages)


def check_splits(config: Config, splits: Splits) -> None:
    """Raise ConfigError or DataError for problems that depend on the loaded data."""
    images_per_update = config.data.batch_size * config.trainer.accumulate_steps
    if images_per_update > len(splits.train):
        largest = len(splits.train) // config.trainer.accumulate_steps
        raise ConfigError(
            [
                f"data.batch_size={config.data.batch_size}: the training split has "
                f"{len(splits.train)} images; write at most {largest}"
            ]
        )
    if problems := list(whole_batch_problems(config, len(splits.train))):
        raise ConfigError(problems)
    needs_val = config.schedule.needs_validation or config.trainer.early_stopping_epochs is not None
    if needs_val and not len(splits.val):
        raise ConfigError(["data.val_fraction: no validation images; plateau and early stopping need them"])
    if len(splits.test) == 0:
        raise DataError(f"data={config.data.name}: the test split is empty")


def checked_network_input(config: Config, image: tuple[int, int, int]) -> NetworkInput:
    """Return the network input for images of shape (height, width, channels); raises ConfigError."""
    if problems := input_problems(config, image):
        raise ConfigError(problems)
    return resolve_network_input(config, image)


def training_batches(config: Config, train: ImageSet, device: torch.device) -> Batches:
    """Return the augmented batches of the training split, each with the images of one update."""
    default, chunks = config.data.default_augmentation(), train.chunks(COLOR_CHUNK)
    augment = config.augmentation.build(default, train.shape, chunks)
    return Batches(
        train, config.data.batch_size * config.trainer.accumulate_steps, device, config.seed, augment
    )


def evaluation_batches(images: ImageSet, config: Config, compute: Compute) -> Batches:
    """Return the batches of a split, of the training batch size unless evaluate.batch_size is set."""
    return Batches(images, config.evaluate.batch_size or config.data.batch_size, compute.device)


def build_criterion(config: Config, names: list[str], statistics: dict[str, Tensor]) -> Criterion:
    """Return the loss for classes, attributes or values of these names.

    statistics: those of the training labels, from `label_statistics` of the loss or from a checkpoint.
    """
    criterion: Criterion = config.loss.build(names, statistics, config.regularization.label_smoothing)
    return criterion


def restore_criterion(config: Config, names: list[str], state: State, source: str) -> Criterion:
    """Return the loss with the label statistics of a checkpoint; raises DataError where they do not fit."""
    with reading("loss", source):
        criterion = build_criterion(config, names, state["loss"])
        target = config.data.target_kind()
        labels = torch.zeros(1, dtype=torch.int64) if target == "classes" else torch.zeros(1, len(names))
        criterion(torch.zeros(1, criterion.outputs), labels)  # raises where statistics have another shape
    check_structure(state["loss"], criterion.state_dict(), "loss", source)
    return criterion


def build_network(
    config: Config, criterion: Criterion, network_input: NetworkInput
) -> tuple[nn.Module, list[str]]:
    """Return the network of a new run, whose random weights depend only on the seed, and messages to print.

    Raises ConfigError if settings do not fit, DataError if trained weights cannot be read.
    """
    channels, size = network_input.channels, network_input.size
    problems = config.model.input_problems(channels, criterion.outputs, size)
    if problems:
        raise ConfigError(problems)
    seed_torch(config.seed, "initialization")
    network = config.model.build(channels, criterion.outputs, size, config.regularization.dropout)
    criterion.adapt_network(network)
    config.regularization.modify(network)
    source = read_source_run(config.initialization.source_run())
    return network, config.initialization.apply(network, config.model.nonlinearity(), source)


def read_source_run(folder: str | None) -> SourceRun | None:
    """Return the best weights of the run in a folder, None without a folder; raises DataError."""
    if folder is None:
        return None
    source = stored_config.read(Path(folder), "initialization.run")
    weights = RunFolder(Path(folder)).checkpoints.load_best()["network"]
    return SourceRun(folder, source.model.name, weights)


def rebuild_network(config: Config, criterion: Criterion, network_input: NetworkInput) -> nn.Module:
    """Return the network of an earlier run, to load its checkpoint; files of initial weights are not read."""
    network: nn.Module = config.model.rebuild(
        network_input.channels, criterion.outputs, network_input.size, config.regularization.dropout
    )
    criterion.adapt_network(network)
    config.regularization.modify(network)
    return network


def restore_preprocessing(config: Config, state: State, source: str) -> Preprocess:
    """Return the preprocessing stored in a checkpoint; raises DataError where it does not fit."""
    with reading("preprocess", source):
        network_input = resolve_network_input(config, tuple(state["image_shape"]))
        preprocess: Preprocess = config.preprocessing.restore(state["preprocess"], network_input)
        size = torch.Size((1, *state["image_shape"]))
        shape = tuple(preprocess(torch.zeros(size, dtype=torch.uint8)).shape[1:])
    if shape != preprocess.output_shape:
        raise DataError(f"{source}: preprocess gives {shape}, the network takes {preprocess.output_shape}")
    return preprocess


def check_data(state: State, data: dict[str, Any], run: Path) -> None:
    """Raise DataError if the data found now are not those of a checkpoint."""
    stored = state.get("data") or data  # none: written by an earlier version
    check_fingerprint(stored | {"names": state["names"], "shape": state["image_shape"]}, data, run)


def build_step(
    config: Config,
    network: nn.Module,
    preprocess: Preprocess,
    criterion: Criterion,
    compute: Compute,
    steps_per_epoch: int,
) -> TrainingStep:
    """Return the training step of a network, with its update and its average of the weights."""
    weights = _parameter_groups(config.model.parameter_groups(network))
    update = Update(
        network,
        build_optimizers(config, weights, compute.device.type in ("cpu", "cuda"), steps_per_epoch),
        config.regularization.build(network),
        config.trainer.max_grad_norm,
        compute.device,
        fp16=compute.precision == "fp16",
    )
    return TrainingStep(
        network,
        preprocess,
        criterion,
        update,
        config.averaging.build(update.weights, steps_per_epoch, config.trainer.epochs),
        config.regularization,
        compute,
        config.seed,
        config.trainer.accumulate_steps,
        config.trainer.compile,
    )


def build_optimizers(
    config: Config, weights: list[Tensor] | list[dict[str, Any]], fused: bool, steps_per_epoch: int
) -> OptimizerStages:
    """Return the optimizers of a run over these weights, with their schedule."""
    epochs = config.trainer.epochs
    stages = config.optim.stages(weights, fused, steps_per_epoch, epochs)
    return OptimizerStages(stages, config.schedule.build(steps_per_epoch, epochs))


def count_parameters(network: nn.Module) -> int:
    """Return the number of trainable parameters."""
    return sum(weight.numel() for weight in network.parameters() if weight.requires_grad)


def _parameter_groups(groups: list[tuple[list[Tensor], float]]) -> list[Tensor] | list[dict[str, Any]]:
    """Return weights as torch's optimizers accept them: a list, or groups with a factor on lr each."""
    if len(groups) == 1 and groups[0][1] == 1:
        return groups[0][0]
    return [{"params": weights, LR_SCALE: scale} for weights, scale in groups]


def _optimizer_changes(optimizers: OptimizerStages, steps_per_epoch: int) -> list[str]:
    """Return one line for each change of the optimizer within the run (O11)."""
    names = [type(stage.optimizer).__name__ for stage in optimizers.stages]
    return [
        f"optimizer {before} until epoch {stage.from_step / steps_per_epoch:g}, then {after}"
        for before, after, stage in zip(names, names[1:], optimizers.stages[1:], strict=False)
    ]


def _data_notices(splits: Splits, train: Batches) -> list[str]:
    """Return notices of classes without images in a split, and of processes that cannot read images."""
    notices = []
    for name, part in (("training", splits.train), ("validation", splits.val), ("test", splits.test)):
        if len(part) and part.labels.ndim == 1:
            found = set(part.labels.unique().tolist())  # type: ignore[no-untyped-call]
            missing = [label for index, label in enumerate(splits.names) if index not in found]
            if missing:
                more = f" and {len(missing) - 10} more" if len(missing) > 10 else ""
                notices.append(f"no images of {', '.join(missing[:10])}{more} in the {name} split")
    workers = splits.train.workers if isinstance(splits.train, FileImages) else 0
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
