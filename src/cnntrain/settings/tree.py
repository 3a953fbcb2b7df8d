"""The whole configuration as one typed tree."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from omegaconf import MISSING

from .fields import setting

JOBS = {
    "train": "train a network (the default)",
    "evaluate": "measure a run's best network on a split: job=evaluate run=FOLDER",
    "summary": "say what a network costs, layer by layer and in memory, without training it",
    "optimizers": "show the optimizers on a bowl and on a saddle: pictures, and in words what each did",
}


@dataclass
class Evaluate:
    """Settings of job=evaluate."""

    split: str = setting("test", "the split to measure on", choices=("train", "val", "test"), resume="free")
    batch_size: int | None = setting(
        None, "images per forward pass; null: the batch size of training", ge=1, resume="free"
    )
    weights: str = setting(
        "best",
        "of a run with averaging, the better of the two by validation, or those of the same epoch's last "
        "step, or their average (E4)",
        choices=("best", "last_step", "average"),
        resume="free",
    )
    views: str = setting(
        "none",
        "average predictions over several views of each image, reported beside the plain numbers: mirror: "
        "and its mirror image; shifts: moved by a few pixels in nine ways; ten_crops: corners and middle, "
        "mirrored too, as AlexNet's (E7)",
        choices=("none", "mirror", "shifts", "ten_crops"),
        resume="free",
    )
    shift: int | None = setting(
        None, "views=shifts: by how many pixels; null: a sixteenth of the side", ge=1, resume="free"
    )
    dense: bool = setting(
        False,
        "slide the network over images larger than its own input in one pass, and average the scores (E5)",
        resume="free",
    )
    dense_size: int | None = setting(
        None,
        "dense: resize images first, to this shorter side at the network's input; null: as they come",
        ge=1,
        resume="free",
    )
    dense_stride: int | None = setting(
        None,
        "dense: pixels from one place to the next, a divisor of the network's own stride; null: that one",
        ge=1,
        resume="free",
    )


@dataclass
class Summary:
    """Settings of job=summary."""

    image_size: int | None = setting(
        None, "height and width to ask about, in pixels; null: the data set's", ge=1, resume="free"
    )
    memory_gb: float | None = setting(
        None,
        "find the largest data.batch_size whose training fits into this many GB; null: not asked",
        gt=0,
        resume="free",
    )


@dataclass
class Optimizers:
    """Settings of job=optimizers."""

    steps: int = setting(100, "updates of each optimizer on each surface", ge=1, resume="free")
    lr: float | None = setting(
        None,
        "one learning rate for all; null: for each one that is good on the bowl",
        gt=0,
        le=10,
        resume="free",
    )


# The settings of jobs, which stand under the job's name.
JOB_SETTINGS: dict[str, type] = {"evaluate": Evaluate, "summary": Summary, "optimizers": Optimizers}


def group(package: str) -> Any:
    """Declare a group of the tree, whose options stand in `cnntrain.<package>.settings`."""
    return field(default=MISSING, metadata={"package": package})


@dataclass
class Config:
    """The configuration of one run; each group holds the dataclass of the chosen option.

    Groups stand in the order in which a run passes through them.
    """

    job: str = setting("train", "what to do", choices=tuple(JOBS), resume="free")
    run: str | None = setting(None, "folder of an earlier run to continue or evaluate", resume="free")
    seed: int = setting(0, "where all randomness starts", ge=0)
    data: Any = group("data")
    preprocessing: Any = group("preprocessing")
    augmentation: Any = group("augmentation")
    model: Any = group("model")
    initialization: Any = group("initialization")
    loss: Any = group("loss")
    regularization: Any = group("regularization")
    optim: Any = group("optim")
    schedule: Any = group("schedule")
    averaging: Any = group("averaging")
    trainer: Any = group("training")
    logger: Any = group("logger")
    evaluate: Evaluate = field(default_factory=Evaluate)
    summary: Summary = field(default_factory=Summary)
    optimizers: Optimizers = field(default_factory=Optimizers)


# The package of each group's options, in the order of the tree.
GROUP_PACKAGES: dict[str, str] = {
    entry.name: entry.metadata["package"] for entry in fields(Config) if "package" in entry.metadata
}
GROUPS = tuple(GROUP_PACKAGES)
