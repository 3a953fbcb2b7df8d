"""Checks of settings of several groups against each other: errors for contradictions, notices of mistakes."""

from __future__ import annotations

import math
from collections.abc import Iterator

from ..metrics import AUTO, selectable
from ..preprocessing.settings import Projection
from ..settings.config_tree import Config
from ..settings.fields import default_of, format_value, settings_of
from ..settings.option import Notice
from .from_trained_weights import has_trained_weights
from .job_checks import head_checks, job_checks
from .option_table import OPTIONS
from .resolve_network_input import input_problems, resolve_network_input

# CutMix pastes a box of whole pixels, which in smaller images would be the whole image or empty.
MIN_CUTMIX_SIZE = 4


def whole_batch_problems(config: Config, images: int) -> Iterator[str]:
    """Yield an error if an optimizer needs all training images in one batch and the batch is smaller."""
    optim, data = config.optim, config.data
    if not optim.needs_whole_batch() or data.batch_size == "auto":
        return
    if data.batch_size * config.trainer.accumulate_steps < images:
        yield (
            f"optim={optim.name}: needs all {images} training images in one batch; write "
            "data.batch_size=auto (or optim.mini_batches=true)"
        )


def batch_size_problems(config: Config, images: int) -> Iterator[str]:
    """Yield an error if an epoch of so many images has no batch, or a `Notice` if it has but one."""
    data, steps = config.data, config.trainer.accumulate_steps
    if data.images_per_batch(images, steps) * steps <= images:
        return
    times = f" times trainer.accumulate_steps={steps}" if steps > 1 else ""
    has = f"data.batch_size={data.batch_size}{times}: the training split has {images} images"
    if data.drop_last:
        yield f"{has}, so data.drop_last=true leaves no batch; write at most {images // steps}"
    elif data.batch_size != "auto" and not config.optim.needs_whole_batch():
        yield Notice(f"{has}, so each epoch is one update")


def training_images(config: Config) -> int | None:
    """Return the number of training images, None if it is unknown before the data are read."""
    info = config.data.info()
    if info is None or info.train_images is None:
        return None
    images: int = min(info.train_images, config.data.limit or info.train_images)
    return images - int(config.data.validation_images(images))


def best_by_problems(config: Config, count: int | None) -> Iterator[str]:
    """Yield an error where trainer.best_by is no metric of so many classes, attributes or values."""
    best_by, target = config.trainer.best_by, config.data.target_kind()
    known = selectable(target, count)
    if best_by != AUTO and best_by not in known:
        yield f"trainer.best_by={best_by}: {_not_measured(target, count)}; write {', '.join((AUTO, *known))}"


def objective_problems(objective: str | None, config: Config) -> Iterator[str]:
    """Yield an error where search.objective is none of the metrics of a job with this configuration."""
    info, target = config.data.info(), config.data.target_kind()
    count = None if info is None else info.outputs
    known = selectable(target, count)
    known += ["rejected"] if config.loss.name == "rejecting_softmax" else []
    if objective is not None and objective not in known:
        yield f"search.objective={objective}: {_not_measured(target, count)}; write {', '.join(known)}"


def _not_measured(target: str, count: int | None) -> str:
    return f"is not measured of {target if count is None else f'{count} {target}'}"


def _best_by(config: Config) -> Iterator[str]:
    info = config.data.info()
    yield from best_by_problems(config, None if info is None else info.outputs)


def epochs_problems(config: Config) -> Iterator[str]:
    """Yield an error, or a `Notice`, for each setting that does not fit the number of epochs."""
    yield from config.schedule.epochs_problems(config.trainer.epochs)
    yield from config.optim.epochs_problems(config.trainer.epochs)
    yield from config.trainer.epochs_problems()
    head, epochs = config.model.head_epochs, config.trainer.epochs
    if head and head >= epochs:
        yield f"model.head_epochs={head}: write fewer than the run has (trainer.epochs={epochs})"
    if epochs % 1 and config.averaging.name == "swa":
        yield (
            f"trainer.epochs={epochs}: averaging=swa averages the weights at the ends of whole epochs; "
            f"write trainer.epochs={math.ceil(epochs)}, or averaging=ema"
        )
    bias_epochs = getattr(config.initialization, "bias_epochs", None)
    if bias_epochs is not None and bias_epochs >= epochs:
        yield (
            f"initialization.bias_epochs={bias_epochs:g}: write fewer than the run has "
            f"(trainer.epochs={epochs}), or null"
        )
    if bias_epochs is not None and head:
        yield (
            f"model.head_epochs={head}: trains the head alone in epochs that initialization.bias_epochs="
            f"{bias_epochs:g} counts, too; write initialization.bias_epochs=null"
        )


def _epochs(config: Config) -> Iterator[str]:
    if config.trainer.budget_minutes is None:  # with a budget, their number is not known yet
        yield from epochs_problems(config)


def _validation(config: Config) -> Iterator[str]:
    if config.data.may_have_validation():
        return
    if config.schedule.needs_validation:
        yield f"data.val_fraction=0: schedule={config.schedule.name} needs validation images; write 0.1"
    if config.trainer.early_stopping_epochs is not None:
        yield "data.val_fraction=0: trainer.early_stopping_epochs needs validation images; write 0.1"
    if config.trainer.best_by != AUTO:
        best_by = f"trainer.best_by={config.trainer.best_by}"
        yield f"data.val_fraction=0: {best_by} needs validation images; write 0.1, or trainer.best_by=auto"


def _batch_size(config: Config) -> Iterator[str]:
    images = training_images(config)
    steps = config.trainer.accumulate_steps
    if images is not None and images < steps:
        of_steps = f", fewer than trainer.accumulate_steps={steps}" if images else ""
        cut = (
            f"val_fraction={config.data.val_fraction:g}"
            if config.data.folds is None
            else f"folds={config.data.folds}"
        )
        yield (
            f"data.{cut}: leaves {images} images for training{of_steps}; "
            "write a smaller one, or a larger data.limit"
        )
    elif images is not None:
        yield from batch_size_problems(config, images)


def _processes(config: Config) -> Iterator[str]:
    """Yield an error where a batch has fewer images than there are processes."""
    data, trainer = config.data, config.trainer
    if trainer.processes == 1 or data.batch_size == "auto":
        return
    if data.batch_size < trainer.processes:
        yield (
            f"trainer.processes={trainer.processes}: a batch has data.batch_size={data.batch_size} images, "
            "fewer than one for each; write a larger batch, or fewer processes"
        )


def _crop_size(config: Config) -> Iterator[str]:
    crop_size = getattr(config.augmentation, "crop_size", None)
    if crop_size is None:
        return
    if getattr(config.preprocessing, "per", "channel") == "pixel":
        yield (
            "preprocessing.per=pixel: needs whole images, not crops "
            f"(augmentation.crop_size={crop_size}); write preprocessing.per=channel"
        )
    if isinstance(config.preprocessing, Projection):
        yield (
            f"preprocessing={config.preprocessing.name}: needs whole images, not crops "
            f"(augmentation.crop_size={crop_size}); write preprocessing=standardize"
        )
    info = config.data.info()
    if info is not None and info.height == info.width == crop_size:
        has_size = hasattr(config.data, "image_size")
        hint = f"; data.image_size={crop_size * 8 // 7} leaves room" if has_size else ""
        yield Notice(
            f"augmentation.crop_size={crop_size}: is the size of the images, so each crop is a whole "
            f"image{hint}"
        )


def _network(config: Config) -> Iterator[str]:
    wrong = config.preprocessing.model_problem(config.model.name)
    if wrong is not None:
        yield wrong
        return
    info = config.data.info()
    if info is None:
        return
    asked = config.summary.image_size if config.job == "summary" else None
    size = (info.height, info.width) if asked is None else (asked, asked)
    image = (*size, info.channels)
    problems = input_problems(config, image)
    yield from problems
    if problems:
        return
    network_input = resolve_network_input(config, image)
    yield from config.model.input_problems(network_input.channels, info.outputs, network_input.size)
    if config.regularization.cutmix and min(network_input.size) < MIN_CUTMIX_SIZE:
        yield (
            f"regularization.cutmix={config.regularization.cutmix:g}: images of "
            f"{network_input.size[0]}x{network_input.size[1]} are too small for CutMix; write 0, or use mixup"
        )


def _trained_weights(config: Config) -> Iterator[str]:
    model = config.model
    if has_trained_weights(config):
        return
    if frozen := getattr(model, "freeze", []):
        yield Notice(
            f"model.freeze={format_value(frozen)}: these layers keep random weights; "
            "model.weights=default has trained ones"
        )
    for name in ("head_epochs", "layer_decay"):
        value = getattr(model, name)
        if value != default_of(settings_of(type(model))[name]):
            published = "model.weights=default, or " if hasattr(model, "weights") else ""
            yield (
                f"model.{name}={format_value(value)}: is for trained weights, those of model={model.name} "
                f"are random; write {published}initialization=from_run initialization.run=FOLDER"
            )


def _loss(config: Config) -> Iterator[str]:
    target, loss = config.data.target_kind(), config.loss
    if loss.target != target and loss.name == "custom":
        yield f"loss.target={loss.target}: data.target is {target}; write loss.target={target}"
    elif loss.target != target:
        fitting = [
            option.name for option in (entry() for entry in OPTIONS["loss"]) if option.target == target
        ]
        yield (
            f"loss={loss.name}: is for {loss.target}, data.target is {target}; "
            f"write loss={' or '.join(fitting)}"
        )
    if loss.name == "hierarchical_softmax" and getattr(config.model, "auxiliary", False):
        yield "loss=hierarchical_softmax: auxiliary heads have no tree; write model.auxiliary=false"
    smoothing = config.regularization.label_smoothing
    if smoothing > 0 and not loss.takes_label_smoothing:
        yield (
            f"regularization.label_smoothing={smoothing:g}: loss={loss.name} has no soft targets; "
            f"write {'loss=softmax or ' if config.data.target_kind() == 'classes' else ''}0"
        )


def _teacher(config: Config) -> Iterator[str]:
    teacher = config.regularization.teacher
    if teacher is None:
        return
    if config.loss.name != "softmax":
        yield f"regularization.teacher={teacher}: imitates probabilities of classes; write loss=softmax"
    if config.job in ("check", "head", "lr_range", "summary"):
        yield Notice(f"regularization.teacher={teacher}: job={config.job} leaves it out")


def _residual_blocks(config: Config) -> Iterator[str]:
    rate = config.regularization.stochastic_depth
    if rate and not config.model.has_residual_blocks():
        yield (
            f"regularization.stochastic_depth={rate:g}: model={config.model.name} has "
            "no residual blocks to skip; write 0, or a network such as model=resnet20"
        )


def _optimizer(config: Config) -> Iterator[str]:
    optim, trainer = config.optim, config.trainer
    images = training_images(config)
    if images is not None:
        yield from whole_batch_problems(config, images)
    if optim.name == "custom":
        yield from _closure(config)
        return
    if not optim.line_search:
        return
    if trainer.precision == "fp16":
        yield (
            f"trainer.precision=fp16: optim={optim.name} compares losses, which fp16 scales; "
            "write bf16 or fp32"
        )
    for name, default in (("head_lr", 1), ("layer_decay", 1), ("head_epochs", 0)):
        value = getattr(config.model, name)
        if value != default:
            yield f"model.{name}={value:g}: optim={optim.name} has one rate for all; write {default}"
    if config.regularization.changes_weights():
        yield (
            f"optim={optim.name}: weight_decay and max_norm of regularization change weights between its "
            "line searches, which distorts its curvature estimate; write regularization.l2"
        )


def _closure(config: Config) -> Iterator[str]:
    """Yield an error for each setting that an optimizer of the user's own with a closure cannot apply."""
    if not config.optim.closure:
        return
    if config.trainer.precision == "fp16":
        yield "trainer.precision=fp16: scales the losses of optim.closure=true; write bf16 or fp32"
    if config.regularization.changes_weights():
        yield (
            "optim.closure=true: weight_decay and max_norm of regularization are not applied between the "
            "evaluations of a closure; write regularization.l2, or an argument of the optimizer"
        )


CROSS_CHECKS = (
    job_checks,
    head_checks,
    _epochs,
    _validation,
    _best_by,
    _batch_size,
    _processes,
    _crop_size,
    _network,
    _trained_weights,
    _loss,
    _teacher,
    _residual_blocks,
    _optimizer,
)
