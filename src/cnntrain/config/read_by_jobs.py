"""Which groups and settings a job reads in a new folder; those that it does not read are refused or noticed.

Jobs that look at a training before it takes place are made from its command by job=…, so that what they do
not read of it is noticed; others have no such command, and refuse it. On an earlier run
`resume_overrides` decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..settings.config_tree import GROUPS, OF_SWEEPS, Config
from ..settings.option import Notice
from .choice_files import EXPERIMENT

DEVICE = (
    *("trainer.device", "trainer.precision", "trainer.threads", "trainer.channels_last"),
    *("trainer.deterministic", "trainer.quiet"),
)
NETWORK = (EXPERIMENT, "seed", "data", "preprocessing", "model", "loss")
INPUTS = (*NETWORK, "augmentation", "initialization", "regularization")
STEP = (
    *(*INPUTS, "optim", *DEVICE, "trainer.accumulate_steps", "trainer.max_grad_norm"),
    *("trainer.initial_size", "trainer.full_size_from"),
)
# By job: groups, of which it reads every setting, and single settings. Jobs that are not here read all of
# them (train), or take an earlier run.
READ: dict[str, tuple[str, ...]] = {
    "data": (*INPUTS, "trainer.accumulate_steps", "trainer.quiet"),
    "check": STEP,
    "lr_range": (*STEP, "trainer.compile"),
    "profile": (
        *(*STEP, "schedule", "averaging", "trainer.compile", "trainer.epochs"),
        *("trainer.max_steps_per_epoch", "trainer.instruments", "trainer.keep_epochs", "trainer.best_by"),
        *("trainer.record_every_steps", "trainer.checkpoint_every_steps"),
        "trainer.checkpoint_every_minutes",
    ),
    "summary": (
        *(*NETWORK, "augmentation", "regularization", "optim", "schedule", "averaging", *DEVICE),
        *("trainer.accumulate_steps", "trainer.max_grad_norm", "trainer.epochs"),
        "trainer.max_steps_per_epoch",
    ),
    "head": (*NETWORK, "initialization", *DEVICE, "trainer.test"),
    "optimizers": ("trainer.quiet",),
    "ensemble": ("trainer.device", "trainer.precision", "trainer.threads", "trainer.quiet"),
}
# Of jobs without a training's command: why they do not read the others.
REFUSED = {
    "head": "which trains nothing",
    "optimizers": "which runs every optimizer with settings of its own (optimizers.lr)",
    "ensemble": "whose members have settings of their own",
}
# Settings that are of no training; `job_checks` looks at those of other jobs.
OF_TRAINING = (*GROUPS, EXPERIMENT, "seed")


def without_effect(config: Config, given: Iterable[str]) -> Iterator[str]:
    """Yield an error, or a `Notice`, for the given groups and settings that the job does not read.

    given: keys of groups and settings as on the command line.
    """
    job = config.job
    if job not in READ:
        return
    unread = [key for key in given if _is_of_training(key) and not _reads(config, key)]
    if reason := REFUSED.get(job):
        yield from (f"{key}: has no effect with job={job}, {reason}; leave it out" for key in unread)
    elif unread:
        verb = "has" if len(unread) == 1 else "have"
        yield Notice(f"{', '.join(unread)}: {verb} no effect on job={job}")


def _is_of_training(key: str) -> bool:
    group = key.partition(".")[0]
    return group in OF_TRAINING and group != OF_SWEEPS


def _reads(config: Config, key: str) -> bool:
    group, _, name = key.partition(".")
    read = (*READ[config.job], *_read_with_these_options(config))
    if config.job == "lr_range" and key == "optim.lr":
        return bool(config.optim.name == "muon")  # where it is one of two rates
    return group in read or key in read or (not name and any(of.startswith(f"{group}.") for of in read))


def _read_with_these_options(config: Config) -> Iterator[str]:
    """Yield what a job reads with some options alone."""
    if config.job == "data" and config.optim.needs_whole_batch():
        yield "optim"
    of_images = config.initialization.images_needed() > 0
    if config.job == "summary" and (of_images or config.initialization.source_run() is not None):
        yield "initialization"
    if config.job in ("check", "lr_range") and config.trainer.initial_size is not None:
        yield from ("trainer.epochs", "trainer.max_steps_per_epoch")
    if config.job == "lr_range" and getattr(config.optim, "final_momentum", None) is not None:
        yield from ("trainer.epochs", "trainer.max_steps_per_epoch")
