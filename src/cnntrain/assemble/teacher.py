"""The teacher of a run that is distilled from another (regularization.teacher)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from ..data.fingerprint import normalized
from ..errors import ConfigError, DataError
from ..loss.class_losses import ClassCriterion
from ..loss.criterion import Criterion, at_least_float32
from ..preprocessing.preprocess import Preprocess
from ..regularization.distillation import Teacher
from ..runs import file_names
from ..runs.checkpoint import State, digest
from ..settings.config_tree import Config
from ..settings.fields import describe_changes, format_value
from ..settings.network_input import NetworkInput
from ..training.device import Compute, move_to_device
from .restore import restore_preprocessing
from .trained_run import read_trained, restore_network

SETTING = "regularization.teacher"


def load_teacher(
    config: Config, names: list[str], network_input: NetworkInput, compute: Compute
) -> tuple[Teacher, list[str]]:
    """Return the teacher that the settings name, for images of these classes, and a line to print.

    network_input: that of the run itself. Raises ConfigError where it does not fit the run, DataError where
    it cannot be read.
    """
    settings = config.regularization
    path = Path(settings.teacher)
    own, state = read_trained(path, SETTING)
    if own.data.target_kind() != "classes" or normalized(state["names"]) != normalized(names):
        found, expected = (", ".join(map(str, some[:6])) for some in (state["names"], names))
        raise ConfigError(
            [
                f"{SETTING}={path}: was trained for {found}, this run is for {expected}; name a run on "
                "classes of the same names in the same order"
            ]
        )
    with torch.random.fork_rng(devices=[]):  # the initial weights, which the stored ones replace
        network, criterion = restore_network(own, state)
    move_to_device(network, compute)
    criterion.to(compute.device)
    preprocess = _fitting(restore_preprocessing(own, state, str(path)), state, network_input, path)
    teacher = Teacher(
        network,
        preprocess.to(compute.device),
        _logits(criterion),
        settings.teacher_alpha,
        settings.teacher_temperature,
    )
    return teacher, [f"teacher   {describe_changes(own.model)} of {path}"]


def teacher_digest(config: Config) -> str | None:
    """Return the SHA-256 of the teacher's checkpoint, None without one; raises DataError."""
    if config.regularization.teacher is None:
        return None
    path = Path(config.regularization.teacher)
    file = path if path.suffix == ".pt" else path / file_names.CHECKPOINTS / file_names.BEST
    if not file.is_file():
        raise DataError(f"{SETTING}={path}: has no checkpoint; write {SETTING}=FOLDER, where it lies now")
    return digest(file)


def check_teacher(config: Config, state: State) -> None:
    """Raise DataError if the teacher is not the one that a run began with, wherever it lies."""
    if state.get("teacher") != teacher_digest(config):
        raise DataError(
            f"{SETTING}={format_value(config.regularization.teacher)}: is not the one that this run began "
            "with, or its checkpoint has changed; name that one, or start a new run"
        )


def _fitting(preprocess: Preprocess, state: State, network_input: NetworkInput, path: Path) -> Preprocess:
    """Return the teacher's preprocessing for the images that this run trains on, of another size perhaps."""
    image = (*(network_input.crop or network_input.image[:2]), network_input.image[2])
    expected = (*(preprocess.crop or state["image_shape"][:2]), state["image_shape"][2])
    if image == tuple(expected):
        return preprocess
    shapes = "x".join(map(str, expected)), "x".join(map(str, image))
    line = f"{SETTING}={path}: takes images of {shapes[0]}, this run has {shapes[1]}"
    if image[2] != expected[2]:
        raise ConfigError([f"{line}; name a run on images of as many channels"])
    try:
        return preprocess.for_size(preprocess.output_shape[1:])
    except ConfigError as error:
        raise ConfigError([f"{line}, and its statistics are per pixel; name another run"]) from error


def _logits(criterion: Criterion) -> Callable[[Tensor], Tensor]:
    """Return the function from scores to values whose softmax is the probabilities of the classes."""
    if type(criterion).probabilities is ClassCriterion.probabilities:
        return at_least_float32

    def of_probabilities(scores: Tensor) -> Tensor:
        return criterion.probabilities(scores).clamp(min=torch.finfo(torch.float32).tiny).log()

    return of_probabilities
