"""Assembles a run, new or continued, from top to bottom in the order in which data flow."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ..config import stored_config
from ..config.resolve_batch_size import with_batch_size
from ..data.batches import Batches
from ..data.fingerprint import fingerprint
from ..data.splits import Splits
from ..instruments.histograms import Histograms
from ..instruments.trace import Trace, first_step
from ..runs.checkpoint import State
from ..runs.checkpoint_schema import check_structure
from ..runs.file_names import HISTOGRAMS, LAST, TRACE
from ..runs.metrics_file import remove_later_rows
from ..runs.run_folder import RunFolder
from ..runs.run_progress import Progress
from ..settings.config_tree import Config
from ..settings.network_input import NetworkInput
from ..training.device import Compute, Earlier, move_to_device, prepare
from ..training.trainer import Trainer
from ..training.training_step import TrainingStep
from .first_lines import first_lines
from .parts import (
    build_criterion,
    build_network,
    build_step,
    check_splits,
    checked_network_input,
    evaluation_batches,
    fit_initialization,
    training_batches,
)
from .restore import check_data, rebuild_network, restore_criterion, restore_preprocessing
from .teacher import check_teacher, load_teacher, teacher_digest


@dataclass
class Parts:
    """The parts of a run without its records and checkpoints.

    config: with a number as its batch size. step: network, preprocessing, loss and update. fingerprint: that
    of the data. messages: the first lines to print.
    """

    config: Config
    compute: Compute
    splits: Splits
    fingerprint: dict[str, Any]
    network_input: NetworkInput
    train: Batches
    val: Batches | None
    step: TrainingStep
    messages: list[str]


@dataclass
class Assembled:
    """A run ready to train: its trainer, and the parts it was made of."""

    trainer: Trainer
    parts: Parts


def build_parts(
    config: Config, state: State | None, run: Path, source: str, splits: Splits | None = None
) -> Parts:
    """Build the parts of a run, with the loss and preprocessing of a checkpoint's `state` unless it is None.

    The state of the network and of its update is not loaded. run: the run's folder, source: the checkpoint,
    for messages. splits: those of the data if they are loaded already. Raises ConfigError if settings do not
    fit the data, DataError if the data cannot be used.
    """
    compute = prepare(config.trainer, Earlier.of(state))
    splits = splits or config.data.load(config.seed)
    check_splits(config, splits)
    given = config
    config = with_batch_size(config, len(splits.train), None if state is None else state.get("batch_size"))
    data = fingerprint(splits)
    if state is not None:
        check_data(state, data, run)
    network_input = checked_network_input(config, splits.train.shape)

    train = training_batches(config, splits.train, compute.device, splits.crops)
    val = evaluation_batches(splits.val, config, compute) if len(splits.val) else None

    if state is None:
        statistics = config.loss.label_statistics(splits.names, splits.train.labels)
        criterion = build_criterion(config, splits.names, statistics)
        network, network_messages = build_network(config, criterion, network_input)
        preprocess, data_messages = config.preprocessing.fit(splits.train, network_input)
        network_messages += fit_initialization(config, network, preprocess, splits.train)
    else:
        criterion = restore_criterion(config, splits.names, state, source)
        network, network_messages = rebuild_network(config, criterion, network_input), []
        preprocess, data_messages = restore_preprocessing(config, state, source), []
    move_to_device(network, compute)
    preprocess.to(compute.device)
    criterion.to(compute.device)

    steps_per_epoch = min(len(train), config.trainer.max_steps_per_epoch or len(train))
    step = build_step(config, network, preprocess, criterion, compute, steps_per_epoch)
    messages = first_lines(
        given, splits, train, network_input, step, steps_per_epoch, data_messages, network_messages
    )
    return Parts(config, compute, splits, data, network_input, train, val, step, messages)


def _with_compile(config: Config, state: State | None, chosen: bool) -> Config:
    """Return the configuration with true or false in place of trainer.compile=auto.

    state: the checkpoint that a run continues from, which holds its choice; chosen: that of a new run.
    """
    if config.trainer.compile != "auto":
        return config
    compiles = chosen if state is None else bool(state.get("compile"))
    return replace(config, trainer=replace(config.trainer, compile=compiles))


def assemble(
    config: Config,
    folder: RunFolder,
    state: State | None,
    splits: Splits | None = None,
    compiles: bool = False,
) -> Assembled:
    """Build all parts of a run; `state` is the checkpoint that it continues from, None for a new run.

    splits: those of the data if they are loaded already. compiles: what trainer.compile=auto is in a new run.
    Raises ConfigError if settings do not fit the data, DataError if the data cannot be used.
    """
    source = str(folder.checkpoints.folder / LAST)
    parts = build_parts(_with_compile(config, state, compiles), state, folder.path, source, splits)
    if state is not None:
        check_teacher(config, state)
    if config.regularization.teacher is not None:
        names, network_input = parts.splits.names, parts.network_input
        parts.step.teacher, lines = load_teacher(config, names, network_input, parts.compute)
        parts.messages += lines
    if state is not None:
        parts.step.load(state, source)
        check_structure(state["sums"], torch.zeros(4), "sums", source)
    progress = Progress(**state["progress"]) if state is not None else Progress()
    steps_per_epoch = min(len(parts.train), config.trainer.max_steps_per_epoch or len(parts.train))
    interval = config.trainer.recording_interval(config.trainer.total_steps(steps_per_epoch))
    recorder = folder.recorder(progress.rows, interval)
    trainer = Trainer(
        config.trainer,
        parts.step,
        parts.train,
        parts.val,
        folder.checkpoints,
        recorder,
        _description(config, parts),
    )
    if state is not None:
        trainer.load(state)
    _add_instruments_with_files(config, folder, trainer)
    return Assembled(trainer, parts)


def _description(config: Config, parts: Parts) -> dict[str, Any]:
    """Return what checkpoints store besides the state."""
    return {
        "config": stored_config.to_yaml(config),
        "names": parts.splits.names,
        "image_shape": list(parts.splits.train.shape),
        "data": parts.fingerprint,
        "precision": parts.compute.precision,
        "threads": torch.get_num_threads(),
        "batch_size": parts.config.data.batch_size,
        "compile": parts.config.trainer.compile,
        "winograd": parts.compute.winograd,
        "teacher": teacher_digest(config),
    }


def _add_instruments_with_files(config: Config, folder: RunFolder, trainer: Trainer) -> None:
    """Add the instruments that write files of their own."""
    instruments, progress = trainer.step.update.instruments, trainer.progress
    if config.trainer.instruments:
        histograms = folder.path / HISTOGRAMS
        remove_later_rows(histograms, progress.step)
        instruments.add(Histograms(trainer.network, histograms, trainer.steps_per_epoch))
    if config.trainer.profile:
        left_in_epoch = trainer.steps_per_epoch - progress.step_in_epoch
        trace = Trace(folder.path / TRACE, first_step(progress.step, left_in_epoch))
        instruments.add(trace)
        instruments.around_part = trace.around_part
