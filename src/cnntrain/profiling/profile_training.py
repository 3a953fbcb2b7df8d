"""Profiles the training of a run that is not kept."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

import torch

from ..assemble.run import Parts
from ..assemble.teacher import load_teacher
from ..costs.layer_costs import layer_table
from ..data.batches import Batches
from ..errors import ConfigError
from ..runs.checkpoint import Checkpoints
from ..runs.metrics_file import Recorder
from ..settings.config_tree import Config
from ..training.trainer import Trainer
from .clocks import Clock
from .epoch_profile import EpochCounts, EpochProfile, epoch_profile
from .machine_speed import machine_speed
from .measure import measure

# Validation images that are evaluated, at most; the time of more is reckoned from them.
MOST_EVALUATED = 10_000


def profile_training(
    config: Config, parts: Parts, folder: Path, seconds: float, clock: Clock
) -> EpochProfile:
    """Return where the time of an epoch goes; the parts are used up.

    seconds: about how long steps are measured. Records and checkpoints are written into a folder within
    `folder`, and removed.
    """
    if config.regularization.teacher is not None:
        names, network_input = parts.splits.names, parts.network_input
        parts.step.teacher, _ = load_teacher(config, names, network_input, parts.compute)
    speed = machine_speed(parts.compute, clock)
    with tempfile.TemporaryDirectory(dir=folder) as written:
        trainer = new_trainer(config, parts, Path(written))
        try:
            measured = measure(trainer, seconds, clock, by_layer=config.trainer.compile is not True)
        finally:
            trainer.recorder.close()
    # Twice, as other programs may use the machine.
    speed = speed.or_faster(machine_speed(parts.compute, clock))
    counts = _counts(config, parts, trainer, measured.seconds_per_step())
    return epoch_profile(measured, counts, parts.step.network, _multiply_adds(parts), speed)


def new_trainer(config: Config, parts: Parts, folder: Path) -> Trainer:
    """Return a trainer of the parts of a run, whose records and checkpoints are written into a folder."""
    checkpoints = Checkpoints(folder)
    recorder = Recorder(folder / "metrics.jsonl", 0, every_steps=1)
    val = parts.val
    if val is not None and len(val.images) > MOST_EVALUATED:
        some = val.images.subset(torch.arange(MOST_EVALUATED))
        val = Batches(some, val.batch_size, val.device)
    return Trainer(config.trainer, parts.step, parts.train, val, checkpoints, recorder, {})


def _counts(config: Config, parts: Parts, trainer: Trainer, seconds_per_step: float) -> EpochCounts:
    """Return how often what was measured happens in an epoch of the run."""
    settings, steps = config.trainer, trainer.steps_per_epoch
    images = min(len(parts.splits.train), steps * parts.train.batch_size)
    checkpoints = 0
    if settings.checkpoint_every_steps is not None:
        checkpoints = steps // settings.checkpoint_every_steps
    elif settings.checkpoint_every_minutes is not None:
        checkpoints = int(steps * seconds_per_step / 60 / settings.checkpoint_every_minutes)
    records = steps // settings.recording_interval(settings.total_steps(steps))
    return EpochCounts(steps, images, records, len(parts.splits.val), checkpoints)


def _multiply_adds(parts: Parts) -> dict[str, int]:
    """Return the multiply-adds of each layer for one image, none where the network cannot be followed."""
    network_input = parts.network_input
    try:
        rows = layer_table(parts.step.network, network_input.channels, network_input.size)
    except ConfigError:
        return {}
    counts: Counter[str] = Counter()
    for row in rows:  # a module that is called several times has several
        counts[row.name] += row.multiply_adds
    return counts
