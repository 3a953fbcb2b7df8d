"""The whole configuration as one typed tree."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from .fields import setting

JOBS = {
    "train": "train a network (the default)",
    "evaluate": "measure a run's best network on a split: job=evaluate run=FOLDER",
}


@dataclass
class Evaluate:
    """Settings of job=evaluate."""

    split: str = setting("test", "the split to measure on", choices=("train", "val", "test"), resume="free")
    batch_size: int | None = setting(
        None, "images per forward pass; null: the batch size of training", ge=1, resume="free"
    )


@dataclass
class Config:
    """What one run is made from; each group holds the dataclass of the option that was chosen."""

    job: str = setting("train", "what to do", choices=tuple(JOBS), resume="free")
    run: str | None = setting(None, "folder of an earlier run to continue or evaluate", resume="free")
    seed: int = setting(0, "where all randomness starts", ge=0)
    data: Any = MISSING
    preprocessing: Any = MISSING
    augmentation: Any = MISSING
    model: Any = MISSING
    initialization: Any = MISSING
    loss: Any = MISSING
    regularization: Any = MISSING
    optim: Any = MISSING
    schedule: Any = MISSING
    trainer: Any = MISSING
    logger: Any = MISSING
    evaluate: Evaluate = field(default_factory=Evaluate)
