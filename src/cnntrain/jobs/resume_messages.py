"""What is said of a run that is continued: how a finished one is trained longer, and what has changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..assemble.run import Assembled
from ..errors import ConfigError
from ..metrics import DISPLAY
from ..runs.run_folder import run_override
from ..runs.run_progress import Progress
from ..settings.config_tree import Config
from .out_of_memory import division_line


def check_no_part_of_an_epoch(path: Path, progress: Progress, before: Config, config: Config) -> None:
    """Raise ConfigError where a run that ended within an epoch is to be trained for more of them."""
    if config.trainer.epochs != before.trainer.epochs and progress.epoch > before.trainer.epochs:
        raise ConfigError(
            [
                f"trainer.epochs={config.trainer.epochs}: the run in {path} ended within an epoch "
                f"(trainer.epochs={before.trainer.epochs}) and cannot be trained longer; start a new run, or "
                f"initialization=from_run initialization.run={path}"
            ]
        )


def how_to_train_longer(
    path: Path, progress: Progress, before: Config, config: Config, summary: dict[str, Any] | None
) -> str:
    """Return the message on a finished run: why it ended, and the command that trains it longer."""
    trainer, epochs = config.trainer, progress.epoch
    if epochs > trainer.epochs:
        ended = f"this run is finished ({trainer.epochs} epochs) and ended within an epoch"
        return f"{path}: {ended}; to train longer, start a new run"
    changes, reason = [], f"this run is finished ({epochs} epochs)"
    if progress.out_of_patience(trainer.early_stopping_epochs):
        changes.append("trainer.early_stopping_epochs=null")
        stopped = bool(summary and summary.get("stopped_early"))
        best_by = summary.get("best_by") if summary else None
        reason = (
            f"this run {'stopped early, after' if stopped else 'would stop at once, in'} epoch {epochs}: the "
            f"validation {DISPLAY[best_by][0] if best_by else 'metric'} was best in epoch "
            f"{progress.best_epoch} "
            f"(trainer.early_stopping_epochs={trainer.early_stopping_epochs})"
        )
    if trainer.epochs != before.trainer.epochs and epochs < trainer.epochs:
        changes.append(f"trainer.epochs={trainer.epochs}")
    if epochs >= trainer.epochs:
        changes.append(f"trainer.epochs={2 * epochs}")
    return f"{path}: {reason}; to train longer: cnntrain {' '.join([run_override(path), *changes])}"


def notices_on_resuming(
    assembled: Assembled, progress: Progress, before: Config, config: Config
) -> list[str]:
    """Return what a user should know of a continued run: rows that are gone, a rate that rises again."""
    trainer, notices = assembled.trainer, list[str]()
    if progress.parts_per_batch > 1:
        notices.append(division_line(trainer.step, trainer.train_batches.batch_size))
    if trainer.recorder.rows < progress.rows:
        notices.append(
            f"warning   metrics.jsonl has {trainer.recorder.rows} of the {progress.rows} rows written before "
            "the checkpoint; the others are missing"
        )
    if config.trainer.processes != before.trainer.processes:
        notices.append(
            f"notice    trainer.processes={config.trainer.processes}, before "
            f"{before.trainer.processes}: goes on as it would have to rounding, not to the bit"
        )
    if progress.step and config.trainer.epochs != before.trainer.epochs:
        old_schedule = before.schedule.build(trainer.steps_per_epoch, before.trainer.epochs)
        optimizers = trainer.step.update.optimizers
        last = optimizers.stage(progress.step).lr * old_schedule.factor(progress.step - 1)
        next_rate = optimizers.lr(progress.step)
        if next_rate > 1.5 * last:
            notices.append(
                f"notice    lr rises from {last:.3g} to {next_rate:.3g}, as schedule={config.schedule.name} "
                f"is stretched over {config.trainer.epochs} epochs; to train on at a low rate instead, start "
                f"a new run: initialization=from_run initialization.run=FOLDER schedule=constant optim.lr=…"
            )
    return notices
