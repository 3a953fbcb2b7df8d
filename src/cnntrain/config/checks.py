"""Checks of a composed configuration: every setting against its rule, and settings against each other."""

from __future__ import annotations

import importlib.util
import itertools
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import DataError
from . import stored
from .accelerators import cuda_devices, has_mps
from .fields import default_of, problem, rule_of, settings_of, spelt, type_of
from .model.external import TIMM_MISSING, timm_installed
from .network_input import input_problems, network_input
from .optim import Sgd
from .options import GROUPS, OPTIONS
from .preprocessing import Projection
from .root import JOB_SETTINGS, Config


def rule_problems(config: Config) -> list[str]:
    """Return a line for every setting of the tree that breaks its rule, wherever its value came from."""
    problems = _broken(config, "", skip=(*GROUPS, *JOB_SETTINGS))
    for group in (*GROUPS, *JOB_SETTINGS):
        problems += _broken(getattr(config, group), f"{group}.")
    return problems


def _broken(node: Any, prefix: str, skip: tuple[str, ...] = ()) -> list[str]:
    problems = []
    for name, field in settings_of(type(node)).items():
        if name in skip:
            continue
        value = getattr(node, name)
        wrong = problem(type_of(type(node), name), rule_of(field), value)
        if wrong is not None:
            problems.append(f"{prefix}{name}={value}: {wrong}")
    return problems


# CutMix's box is of whole pixels: on smaller images it would be all or nothing.
LEAST_FOR_BOXES = 4


class Notice(str):
    """A line about what works, though perhaps otherwise than it seems; other lines are problems."""


def cross_checks(config: Config) -> tuple[list[str], list[str]]:
    """Return what cannot work together, and notices of what works otherwise than it may seem.

    Raises DataError where there is no problem but the folder of a run to start from.
    """
    lines = [line for check in CHECKS for line in check(config)]
    problems = [line for line in lines if not isinstance(line, Notice)]
    if not problems:
        _check_source(config)
    return problems, [line for line in lines if isinstance(line, Notice)]


def _job(config: Config) -> Iterator[str]:
    if config.job == "evaluate" and config.run is None:
        yield "job=evaluate: needs the folder of a run: run=FOLDER"
    yield from evaluation_problems(config)
    yield from other_jobs_problems(config)
    if config.job == "optimizers" and config.optim != Sgd():
        yield (
            f"optim={config.optim.name}: job=optimizers runs every optimizer with settings of its own; leave "
            "optim out, and write optimizers.lr=… for another rate"
        )


def evaluation_problems(config: Config) -> Iterator[str]:
    """Yield a line for each setting of job=evaluate that would do nothing or cannot be."""
    for name in ("dense_size", "dense_stride"):
        value = getattr(config.evaluate, name)
        if value is not None and not config.evaluate.dense:
            yield f"evaluate.{name}={value}: acts in dense evaluation only; add evaluate.dense=true"
    if config.evaluate.shift is not None and config.evaluate.views != "shifts":
        yield f"evaluate.shift={config.evaluate.shift}: acts on evaluate.views=shifts only; write null"
    if config.evaluate.dense and config.evaluate.views != "none":
        yield f"evaluate.views={config.evaluate.views}: dense evaluation has views of its own; keep one"
    if config.evaluate.dense and config.loss.name == "hierarchical_softmax":
        yield (
            "evaluate.dense=true: a hierarchical softmax ends in a tree, which does not slide; write false"
        )


def other_jobs_problems(config: Config) -> Iterator[str]:
    """Yield a line for each setting of another job than this, which would do nothing.

    Those of job=evaluate wait in the run's folder until it is evaluated.
    """
    for job, settings in JOB_SETTINGS.items():
        if job in (config.job, "evaluate"):
            continue
        for name, entry in settings_of(settings).items():
            value = getattr(getattr(config, job), name)
            if value != default_of(entry):
                yield f"{job}.{name}={spelt(value)}: acts in job={job} only; add job={job}"


def _device(config: Config) -> Iterator[str]:
    device, precision = config.trainer.device, config.trainer.precision
    kind, _, index = device.partition(":")
    is_cuda = kind == "cuda" and (index.isdigit() or device == "cuda")
    if not is_cuda and device not in ("auto", "cpu", "mps"):
        yield f"trainer.device={device}: must be auto, cpu, cuda, cuda:N or mps"
        return
    count = cuda_devices() if is_cuda or precision == "fp16" else 0
    if is_cuda and not count:
        yield f"trainer.device={device}: this machine has no CUDA device; write auto or cpu"
    elif index and int(index) >= count:
        yield f"trainer.device={device}: this machine has cuda:0 to cuda:{count - 1}"
    elif device == "mps" and not has_mps():
        yield "trainer.device=mps: this machine has no MPS device; write auto or cpu"
    elif precision == "fp16" and not (count and device != "cpu"):
        yield "trainer.precision=fp16: needs a CUDA device; write auto, bf16 or fp32"


def _schedule(config: Config) -> Iterator[str]:
    epochs, schedule = config.trainer.epochs, config.schedule
    warmup = schedule.warmup_epochs
    if warmup is not None and warmup >= epochs:
        longer = "longer than" if warmup > epochs else "as long as"
        yield f"schedule.warmup_epochs={warmup:g}: {longer} the run (trainer.epochs={epochs})"
    milestones = getattr(schedule, "milestones", None)
    if milestones is None:
        return
    written = f"schedule.milestones=[{','.join(f'{entry:g}' for entry in milestones)}]"
    if any(one >= other for one, other in itertools.pairwise(milestones)):
        rising = ",".join(f"{entry:g}" for entry in sorted(set(milestones)))
        yield f"{written}: must rise; write [{rising}]"
    if schedule.every_epochs is not None:
        yield f"{written}: schedule.every_epochs={schedule.every_epochs:g} is given too; keep one of the two"
    late = [entry for entry in milestones if entry >= epochs]
    if late:
        yield Notice(f"{written}: {late[0]:g} is not before the end (trainer.epochs={epochs})")


def _validation(config: Config) -> Iterator[str]:
    if config.data.val_fraction > 0 or config.data.name == "folder":
        return
    if config.schedule.name == "plateau":
        yield "data.val_fraction=0: schedule=plateau needs validation images; write 0.1"
    if config.trainer.early_stopping_epochs is not None:
        yield "data.val_fraction=0: trainer.early_stopping_epochs needs validation images; write 0.1"


def _data(config: Config) -> Iterator[str]:
    if config.data.name == "folder":
        if config.data.target != "classes" and not config.data.csv:
            yield f"data.target={config.data.target}: needs the file with them; write data.csv=FILE.csv"
        if config.data.target == "classes" and config.data.csv:
            yield f"data.csv={config.data.csv}: acts with data.target=attributes or values only"
    if getattr(config.data, "path", None) == "":
        yield f"data.path: data={config.data.name} needs to know where the images are; write data.path=…"
    yield from config.data.problems()
    images = training_images(config)
    parts = config.trainer.accumulate_steps
    if images is not None and config.data.batch_size * parts > images:
        times = f" times trainer.accumulate_steps={parts}" if parts > 1 else ""
        yield (
            f"data.batch_size={config.data.batch_size}{times}: the training split has {images} images; "
            f"write at most {images // parts}"
        )


def training_images(config: Config) -> int | None:
    """Return the number of training images, None where the data must be asked."""
    facts = config.data.facts()
    if facts is None or facts.train_images is None:
        return None
    images: int = min(facts.train_images, config.data.limit or facts.train_images)
    return images - round(images * float(config.data.val_fraction))


def _network(config: Config) -> Iterator[str]:
    if config.model.name == "timm" and not timm_installed():
        yield TIMM_MISSING
        return
    misfit = config.preprocessing.misfit(config.model.name)
    if misfit is not None:
        yield misfit
        return
    facts = config.data.facts()
    if facts is not None:
        asked = config.summary.image_size if config.job == "summary" else None
        size = (facts.height, facts.width) if asked is None else (asked, asked)
        image = (*size, facts.channels)
        problems = input_problems(config, image)
        yield from problems
        if not problems:
            way = network_input(config, image)
            yield from config.model.problems(way.channels, facts.outputs, way.size)
            if config.regularization.cutmix and min(way.size) < LEAST_FOR_BOXES:
                yield (
                    f"regularization.cutmix={config.regularization.cutmix:g}: images of "
                    f"{way.size[0]}x{way.size[1]} have no room for a box; write 0, or mixup"
                )


def _augmentation(config: Config) -> Iterator[str]:
    yield from config.augmentation.problems()
    crop_size = getattr(config.augmentation, "crop_size", None)
    if crop_size is None:
        return
    if getattr(config.preprocessing, "per", "channel") == "pixel":
        yield (
            f"preprocessing.per=pixel: augmentation.crop_size={crop_size} leaves no pixel in its place; "
            "write preprocessing.per=channel"
        )
    if isinstance(config.preprocessing, Projection):
        yield (
            f"preprocessing={config.preprocessing.name}: augmentation.crop_size={crop_size} leaves no pixel "
            "in its place; write preprocessing=standardize"
        )
    facts = config.data.facts()
    if facts is not None and facts.height == facts.width == crop_size:
        larger = (
            f"; data.image_size={crop_size * 8 // 7} leaves room"
            if hasattr(config.data, "image_size")
            else ""
        )
        yield Notice(f"augmentation.crop_size={crop_size}: images of that size leave nothing to cut{larger}")


def _trained_weights(config: Config) -> Iterator[str]:
    from_run = config.initialization.name == "from_run"
    if from_run and not config.initialization.run:
        yield "initialization.run: is not set; write initialization.run=FOLDER"
    if getattr(config.model, "freeze", []) and config.model.weights is None and not from_run:
        yield Notice(
            f"model.freeze={spelt(config.model.freeze)}: these layers keep random weights; "
            "model.weights=default has trained ones"
        )


def _check_source(config: Config) -> None:
    """Raise DataError where the run to start from is not there or has no checkpoint."""
    if config.initialization.name != "from_run":
        return
    folder = Path(config.initialization.run)
    stored.read(folder, "initialization.run")
    if not (folder / "checkpoints" / "best.pt").is_file():
        raise DataError(
            f"initialization.run={folder}: has no best weights yet (checkpoints/best.pt); "
            "let the run finish an epoch"
        )


def _loss(config: Config) -> Iterator[str]:
    kind, loss = config.data.target_kind(), config.loss
    if loss.target != kind:
        others = [option() for option in OPTIONS["loss"]]
        fitting = " or ".join(option.name for option in others if option.target == kind)
        yield f"loss={loss.name}: is for {loss.target}, data.target is {kind}; write loss={fitting}"
    if loss.name == "softmax" and loss.balanced and loss.class_weights is not None:
        yield "loss.balanced=true: loss.class_weights is given too; keep one of the two"
    if loss.name == "hierarchical_softmax":
        if loss.tree != "balanced" and loss.branching != 2:
            yield f"loss.branching={loss.branching}: acts on a balanced tree only; write loss.tree=balanced"
        if getattr(config.model, "auxiliary", False):
            yield "loss=hierarchical_softmax: auxiliary heads have no tree; write model.auxiliary=false"
    smoothing = config.regularization.label_smoothing
    if smoothing > 0 and config.loss.name != "softmax":
        yield (
            f"regularization.label_smoothing={smoothing:g}: loss={config.loss.name} has no soft targets; "
            "write loss=softmax or 0"
        )


def _regularization(config: Config) -> Iterator[str]:
    strengths = config.regularization
    yield from strengths.layer_problems()
    if strengths.stochastic_depth and not config.model.has_residual_blocks():
        yield (
            f"regularization.stochastic_depth={strengths.stochastic_depth:g}: model={config.model.name} has "
            "no residual blocks to skip; write 0, or a network such as model=resnet20"
        )


def whole_batch_problems(config: Config, images: int) -> Iterator[str]:
    """Yield a line where an optimizer needs all training images in one batch, and does not get them."""
    optim = config.optim
    batch = config.data.batch_size * config.trainer.accumulate_steps
    if optim.searches_lines and not optim.mini_batches and batch < images:
        yield (
            f"optim={optim.name}: needs all {images} training images in one batch; write "
            f"data.batch_size={images} (or optim.mini_batches=true)"
        )


def _optimizer(config: Config) -> Iterator[str]:
    optim, trainer = config.optim, config.trainer
    images = training_images(config)
    if images is not None:
        yield from whole_batch_problems(config, images)
    if optim.searches_lines and trainer.precision == "fp16":
        yield (
            f"trainer.precision=fp16: optim={optim.name} compares losses, which fp16 scales; "
            "write bf16 or fp32"
        )
    if optim.searches_lines and getattr(config.model, "head_lr", 1.0) != 1.0:
        yield f"model.head_lr={config.model.head_lr:g}: optim={optim.name} has one rate for all; write 1"
    if optim.searches_lines and config.regularization.changes_weights():
        yield (
            f"optim={optim.name}: weight_decay and max_norm of regularization change weights between its "
            "searches, which takes them for curvature; write regularization.l2"
        )
    momentum_epochs = getattr(optim, "momentum_epochs", None)
    if momentum_epochs is not None and optim.final_momentum is None:
        yield (
            f"optim.momentum_epochs={momentum_epochs:g}: acts with optim.final_momentum only; "
            "write optim.final_momentum=0.99"
        )
    if momentum_epochs is not None and momentum_epochs > trainer.epochs:
        yield (
            f"optim.momentum_epochs={momentum_epochs:g}: longer than the run "
            f"(trainer.epochs={trainer.epochs})"
        )
    if optim.name == "switch" and optim.first == optim.then:
        yield f"optim.then={optim.then}: is the first one too; write another, or optim={optim.then}"
    if optim.searches_lines and optim.mini_batches:
        yield Notice(
            f"optim={optim.name}: with mini-batches, what changes from batch to batch is taken for curvature"
        )
    switch_epoch = getattr(optim, "switch_epoch", None)
    if switch_epoch is not None and switch_epoch >= trainer.epochs:
        yield (
            f"optim.switch_epoch={switch_epoch:g}: is not before the end of the run "
            f"(trainer.epochs={trainer.epochs})"
        )


def _optional_parts(config: Config) -> Iterator[str]:
    if config.logger.name == "tensorboard" and importlib.util.find_spec("tensorboard") is None:
        yield "logger=tensorboard: is not installed; pip install 'cnntrain[tensorboard]'"


def _compiler(config: Config) -> Iterator[str]:
    compiler = os.environ.get("CXX", "cl" if sys.platform == "win32" else "g++")
    if config.trainer.compile and shutil.which(compiler) is None:
        yield f"trainer.compile=true: needs the C++ compiler {compiler}; install it, or write false"


CHECKS = (
    _job,
    _device,
    _schedule,
    _validation,
    _data,
    _augmentation,
    _network,
    _trained_weights,
    _loss,
    _regularization,
    _optimizer,
    _optional_parts,
    _compiler,
)
