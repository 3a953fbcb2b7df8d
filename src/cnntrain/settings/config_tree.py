"""The complete configuration as one typed tree."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from omegaconf import MISSING

from .fields import setting
from .job_settings import (
    JOBS,
    Benchmark,
    Check,
    Ensemble,
    Evaluate,
    Export,
    Head,
    LrRange,
    Optimizers,
    Predict,
    Profile,
    Publish,
    Report,
    Summary,
)


def group(package: str) -> Any:
    """Declare a group of the tree whose options are defined in `cnntrain.<package>.settings`."""
    return field(default=MISSING, metadata={"package": package})


@dataclass
class Config:
    """The configuration of one run; each group contains the settings of the chosen option.

    Groups are in the order in which a run uses them.
    """

    job: str = setting("train", "the job to run", choices=tuple(JOBS), resume="free")
    run: str | None = setting(None, "folder of an earlier run to continue or evaluate", resume="free")
    max_jobs: int = setting(
        1000,
        "largest number of jobs of a sweep (-m), all of which are checked before the first",
        ge=1,
        resume="free",
    )
    seed: int = setting(0, "seed of all random number generators", ge=0, le=2**63 - 1)
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
    search: Any = group("search")
    evaluate: Evaluate = field(default_factory=Evaluate)
    predict: Predict = field(default_factory=Predict)
    check: Check = field(default_factory=Check)
    head: Head = field(default_factory=Head)
    lr_range: LrRange = field(default_factory=LrRange)
    report: Report = field(default_factory=Report)
    ensemble: Ensemble = field(default_factory=Ensemble)
    summary: Summary = field(default_factory=Summary)
    optimizers: Optimizers = field(default_factory=Optimizers)
    export: Export = field(default_factory=Export)
    benchmark: Benchmark = field(default_factory=Benchmark)
    publish: Publish = field(default_factory=Publish)
    profile: Profile = field(default_factory=Profile)


# The package of each group's options, in the order of the tree.
GROUP_PACKAGES: dict[str, str] = {
    entry.name: entry.metadata["package"] for entry in fields(Config) if "package" in entry.metadata
}
GROUPS = tuple(GROUP_PACKAGES)
# The group that applies to a sweep as a whole; a run has no use for it and does not store it.
OF_SWEEPS = "search"
