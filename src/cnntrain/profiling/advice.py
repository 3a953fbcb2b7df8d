"""Advice on a profile: what takes much of the time, and the override to try."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from ..assemble.run import Parts
from ..data.image_set import FileImages
from ..instruments.instrument import CHECKPOINT, DATA, EVALUATE, UPDATE
from ..settings.config_tree import Config
from ..training.precision import faster_unit
from ..training.settings import missing_compiler
from .epoch_profile import EpochProfile
from .measure import AUGMENTATION, RECORDS

# Shares of an epoch from which a part is worth a sentence.
MUCH_DATA, MUCH_RECORDS, MUCH_EVALUATION, MUCH_SAVING, MUCH_UPDATE = 0.1, 0.05, 0.2, 0.1, 0.2
# Images of a batch beyond which evaluation gets no faster, and seconds of a run that is worth compiling.
LARGE_BATCH, LONG_RUN = 512, 1800
# Settings of augmentation that take ten times as long as crops and flips (docs/benchmarks.md).
SLOW_TRANSFORMS = ("policy", "brightness", "contrast", "saturation", "hue", "rotation_degrees")


@dataclass(frozen=True)
class Advice:
    """What takes much time, and the overrides to try; results: whether they change what is trained."""

    reason: str
    override: str
    results: bool = False

    def sentence(self) -> str:
        """Return it as a line."""
        return f"{self.reason}: {self.override}{' (trains another network)' if self.results else ''}"


def advice(profile: EpochProfile, parts: Parts) -> list[Advice]:
    """Return what to try for each part that takes more of the time than it need."""
    return [
        *_data(profile, parts),
        *_after_steps(profile, parts),
        *_update(profile, parts),
        *_device(profile, parts),
    ]


def _data(profile: EpochProfile, parts: Parts) -> Iterator[Advice]:
    share, crops, cores = profile.share(DATA), parts.train.crops, os.cpu_count() or 1
    images = parts.splits.train if crops is None or crops.kept is not None else crops.files
    if share > MUCH_DATA and isinstance(images, FileImages):
        waits = f"training waits for images {share:.0%} of the time"
        if images.workers < cores:
            yield Advice(f"{waits}, {images.workers} processes read them", f"data.workers={cores}")
        else:
            limit = 2 * parts.config.data.memory_limit_gb
            yield Advice(f"{waits}; keep more in memory", f"data.memory_limit_gb={limit:g}")
    share = profile.share(AUGMENTATION)
    settings = parts.config.augmentation
    slow = [name for name in SLOW_TRANSFORMS if getattr(settings, name, None) not in (None, 0, "none")]
    if share > MUCH_DATA and slow:
        yield Advice(
            f"augmentation takes {share:.0%}; slow are {', '.join(slow)}",
            "augmentation=crop_flip",
            results=True,
        )


def _after_steps(profile: EpochProfile, parts: Parts) -> Iterator[Advice]:
    trainer, counts = parts.config.trainer, profile.counts
    share = profile.share(RECORDS)
    if share > MUCH_RECORDS and counts.records:
        every = 4 * trainer.recording_interval(trainer.total_steps(counts.steps))
        yield Advice(f"records take {share:.0%}", f"trainer.record_every_steps={every}")
        if trainer.instruments:
            yield Advice("records are shorter without instruments", "trainer.instruments=false")
    yield from _evaluation(profile, parts.config)
    share = profile.share(CHECKPOINT)
    if share > MUCH_SAVING and trainer.checkpoint_every_steps is not None:
        every = 4 * trainer.checkpoint_every_steps
        yield Advice(f"checkpoints take {share:.0%}", f"trainer.checkpoint_every_steps={every}")


def _evaluation(profile: EpochProfile, config: Config) -> Iterator[Advice]:
    share, size = profile.share(EVALUATE), config.evaluate.batch_size or config.data.batch_size
    if share < MUCH_EVALUATION:
        return
    if size < LARGE_BATCH:
        yield Advice(
            f"evaluation takes {share:.0%}, in batches of {size}", f"evaluate.batch_size={LARGE_BATCH}"
        )
    if config.data.val_fraction and config.data.folds is None:
        yield Advice(
            f"{profile.counts.val_images} images are evaluated after each epoch",
            f"data.val_fraction={config.data.val_fraction / 2:g}",
            results=True,
        )


def _update(profile: EpochProfile, parts: Parts) -> Iterator[Advice]:
    share = profile.share(UPDATE)
    if share > MUCH_UPDATE:
        size = 2 * parts.config.data.batch_size
        yield Advice(
            f"updates of the weights take {share:.0%}; larger batches need fewer",
            f"data.batch_size={size}",
            results=True,
        )


def _device(profile: EpochProfile, parts: Parts) -> Iterator[Advice]:
    compute, trainer = parts.compute, parts.config.trainer
    if compute.precision == "fp32" and (unit := faster_unit(compute.device)) is not None:
        yield Advice(f"this machine is faster in bfloat16 ({unit})", "trainer.precision=bf16")
    threads, cores = torch.get_num_threads(), os.cpu_count() or 1
    if compute.device.type == "cpu" and threads < cores:
        yield Advice(f"{threads} of {cores} cores are used", f"trainer.threads={cores}")
    if not trainer.channels_last:
        yield Advice("convolutions are faster in channels-last format", "trainer.channels_last=true")
    of_run = trainer.epochs * profile.seconds
    if trainer.compile is False and of_run > LONG_RUN and missing_compiler() is None:
        yield Advice(
            f"the run takes {of_run / 3600:.1f} hours, in which compiling may pay; its start tries it",
            "trainer.compile=auto",
        )
