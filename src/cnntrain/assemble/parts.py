"""Builds the parts of a new run, each from its settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..config import stored_config
from ..config.cross_checks import batch_size_problems, best_by_problems, whole_batch_problems
from ..config.resolve_network_input import input_problems, resolve_network_input
from ..data.batches import Batches
from ..data.file_crops import FileCrops
from ..data.image_loading import GB
from ..data.image_set import FileImages, ImageSet, MemoryImages
from ..data.splits import Splits
from ..errors import ConfigError, DataError
from ..initialization.from_run import SourceRun
from ..instruments.activations import Activations
from ..instruments.gradient_norms import GradientNorms
from ..instruments.instrument import Instruments
from ..instruments.unit_activity import UnitActivity
from ..instruments.update_ratio import UpdateRatio
from ..loss.criterion import Criterion
from ..metrics import AUTO
from ..optim.optimizer_stages import LR_SCALE, OptimizerStages
from ..preprocessing.preprocess import Preprocess
from ..runs.run_folder import RunFolder
from ..seeding import generator, seed_torch
from ..settings.config_tree import Config
from ..settings.network_input import NetworkInput
from ..settings.option import Notice
from ..training.device import Compute
from ..training.image_sizes import ImageSizes, check_accepted
from ..training.training_step import TrainingStep
from ..training.weight_update import Update
from .undefined_metrics import undefined

# Images per chunk for color statistics and first filters.
STATISTICS_CHUNK = 128


def check_splits(config: Config, splits: Splits) -> None:
    """Raise ConfigError or DataError for problems that depend on the loaded data."""
    images, steps = len(splits.train), config.trainer.accumulate_steps
    if images < steps:
        raise ConfigError([f"trainer.accumulate_steps={steps}: the training split has {images} images"])
    found = [*batch_size_problems(config, images), *whole_batch_problems(config, images)]
    if problems := [problem for problem in found if not isinstance(problem, Notice)]:
        raise ConfigError(problems)
    trainer = config.trainer
    needs_val = config.schedule.needs_validation or trainer.early_stopping_epochs is not None
    if (needs_val or trainer.best_by != AUTO) and not len(splits.val):
        raise ConfigError(
            ["data.val_fraction: no validation images; plateau, early stopping and trainer.best_by need them"]
        )
    if problems := list(best_by_problems(config, len(splits.names))):
        raise ConfigError(problems)
    if wrong := undefined(trainer.best_by, splits.val.labels):
        raise ConfigError([f"trainer.best_by={trainer.best_by}: {wrong}; write auto"])
    if len(splits.test) == 0:
        raise DataError(f"data={config.data.name}: the test split is empty")


def checked_network_input(config: Config, image: tuple[int, int, int]) -> NetworkInput:
    """Return the network input for images of shape (height, width, channels); raises ConfigError."""
    if problems := input_problems(config, image):
        raise ConfigError(problems)
    return resolve_network_input(config, image)


def training_batches(
    config: Config, train: ImageSet, device: torch.device, crops: FileCrops | None = None
) -> Batches:
    """Return the augmented batches of the training split, each with the images of one update.

    crops: those of the files of `train`, if they were made before.
    """
    default, chunks = config.data.default_augmentation(), train.chunks(STATISTICS_CHUNK)
    crops = crops or crops_of_files(config, train)
    augmentation, shape = config.augmentation, train.shape
    if crops is not None:
        augmentation, shape = augmentation.after_file_crop(), (crops.crop.size, crops.crop.size, shape[2])
    augment = augmentation.build(default, shape, chunks)
    images_per_update = config.data.batch_size * config.trainer.accumulate_steps
    return Batches(train, images_per_update, device, config.seed, augment, config.data.drop_last, crops)


def crops_of_files(config: Config, train: ImageSet) -> FileCrops | None:
    """Return the random crops that a run cuts from the files of its training images; None where it cuts none.

    Raises DataError where a file is damaged.
    """
    crop = config.augmentation.file_crop(train.shape)
    if isinstance(train, MemoryImages):
        files, stored = train.files, train.images.nbytes
    else:
        assert isinstance(train, FileImages)
        files, stored = train, 0
    if files is None or crop is None:
        return None
    return FileCrops(files, crop, config.data.memory_limit_gb * GB - stored, config.data.caches())


def evaluation_batches(images: ImageSet, config: Config, compute: Compute) -> Batches:
    """Return the batches of a split, of the training batch size unless evaluate.batch_size is set."""
    return Batches(images, config.evaluate.batch_size or config.data.batch_size, compute.device)


def build_criterion(config: Config, names: list[str], statistics: dict[str, Tensor]) -> Criterion:
    """Return the loss for classes, attributes or values of these names.

    statistics: those of the training labels, from `label_statistics` of the loss or from a checkpoint.
    """
    criterion: Criterion = config.loss.build(names, statistics, config.regularization.label_smoothing)
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
    adapt_network(config, criterion, network)
    source = read_source_run(config.initialization.source_run())
    return network, config.initialization.apply(network, config.model.nonlinearity(), source)


def adapt_network(config: Config, criterion: Criterion, network: nn.Module) -> None:
    """Change a network, new or to be restored, as groups other than the model ask for."""
    criterion.adapt_network(network)
    config.regularization.modify(network)
    config.model.adapt_norms(network)
    config.initialization.freeze(network)


def fit_initialization(
    config: Config, network: nn.Module, preprocess: Preprocess, train: ImageSet
) -> list[str]:
    """Set the initial weights that depend on training images, and return messages to print."""
    count = min(config.initialization.images_needed(), len(train))
    if not count:
        return []
    order = torch.randperm(len(train), generator=generator(config.seed, "whitening"))
    images = train.subset(order[:count].sort().values)
    inputs = (preprocess(chunk) for chunk in images.chunks(STATISTICS_CHUNK))
    messages: list[str] = config.initialization.fit(network, inputs)
    return messages


def read_source_run(folder: str | None) -> SourceRun | None:
    """Return the best weights of the run in a folder, None without a folder; raises DataError."""
    if folder is None:
        return None
    source = stored_config.read(Path(folder), "initialization.run")
    weights = RunFolder(Path(folder)).checkpoints.load_best()["network"]
    return SourceRun(folder, source.model.name, weights)


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
        instruments=build_instruments(network) if config.trainer.instruments else None,
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
        config.trainer.compile is True,
        config.model.head_epochs,
        config.initialization.timed_bias(network, steps_per_epoch),
        build_image_sizes(config, network, preprocess, steps_per_epoch),
    )


def build_image_sizes(
    config: Config, network: nn.Module, preprocess: Preprocess, steps_per_epoch: int
) -> ImageSizes | None:
    """Return the sizes of training images over the run, None where all steps have the network's own size.

    Raises ConfigError where the network does not accept the smallest of them.
    """
    trainer = config.trainer
    if trainer.initial_size is None:
        return None
    channels, height, width = preprocess.output_shape
    if trainer.initial_size >= min(height, width):
        raise ConfigError(
            [
                f"trainer.initial_size={trainer.initial_size}: the network's images are {height}x{width}; "
                f"write at most {min(height, width) - 1}, or null"
            ]
        )
    until = round(trainer.full_size_from * trainer.total_steps(steps_per_epoch))
    sizes = ImageSizes(trainer.initial_size, (height, width), until)
    check_accepted(network, channels, sizes.size(0))
    return sizes


def build_instruments(network: nn.Module) -> Instruments:
    """Return all instruments of a network's training."""
    of_steps = [UpdateRatio(network), GradientNorms(network), Activations(network)]
    return Instruments(of_steps, [UnitActivity(network)])


def build_optimizers(
    config: Config, weights: list[Tensor] | list[dict[str, Any]], fused: bool, steps_per_epoch: int
) -> OptimizerStages:
    """Return the optimizers of a run over these weights, with their schedule."""
    epochs = config.trainer.epochs
    stages = config.optim.stages(weights, fused, steps_per_epoch, epochs)
    return OptimizerStages(stages, config.schedule.build(steps_per_epoch, epochs))


def _parameter_groups(groups: list[tuple[list[Tensor], float]]) -> list[Tensor] | list[dict[str, Any]]:
    """Return weights as torch's optimizers accept them: a list, or groups with a factor on lr each."""
    if len(groups) == 1 and groups[0][1] == 1:
        return groups[0][0]
    return [{"params": weights, LR_SCALE: scale} for weights, scale in groups]
