"""job=train: train a network in a new folder, or continue in an earlier one."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..assemble.compile_choice import choose_compile
from ..assemble.parts import evaluation_batches
from ..assemble.restore import check_configuration
from ..assemble.run import Assembled, assemble
from ..assemble.time_budget import within_budget
from ..assemble.trained_run import load_weights
from ..config import stored_config
from ..costs.memory_notice import memory_notice
from ..data.splits import Splits
from ..errors import (
    ConfigError,
    DataError,
    Diverged,
    Stopped,
    interrupted_by,
)
from ..logger.processes import RunLoggers
from ..output_streams import print_labelled, print_last, print_result
from ..report.pictures.run_pictures import draw_end, draw_schedule, draw_start
from ..runs import file_names
from ..runs.atomic_write import write_text
from ..runs.checkpoint import State
from ..runs.reduce_run import is_reduced
from ..runs.run_folder import RunFolder, create, run_override
from ..runs.run_progress import Progress
from ..runs.signals import StopSignals
from ..runs.status import DIVERGED, FINISHED, PAUSED, STOPPED
from ..settings.config_tree import Config
from ..training.hooks import Hooks
from ..training.stop_rule import NEVER, StopRule
from ..training.trainer import Trainer
from .kept_model import how_it_is_kept, keep_model, refuse_continuing
from .out_of_memory import train_within_memory
from .processes import evaluate_together, work_alone
from .resume_messages import check_no_part_of_an_epoch, how_to_train_longer, notices_on_resuming
from .run_outcome import Outcome, record_outcome, recorded_outcome, remove_error
from .run_summary import run_summary, summary_line, summary_table


@dataclass(frozen=True)
class InSearch:
    """What a search hands to the run of a job: when to stop it, and its data, if they are loaded already."""

    stop_rule: StopRule = NEVER
    splits: Splits | None = None


class HoldsRun(DataError):
    """The folder of a new run holds one already."""


def train(config: Config, path: Path, named_by_user: bool, in_search: InSearch = InSearch()) -> Path:
    """Train in a new folder and return its path.

    Raises UserError, after recording it in the folder; HoldsRun where the folder is that of a run.
    """
    folder = create(path, named_by_user)
    with folder.locked():
        if folder.config.exists():
            raise HoldsRun(f"{path}: already holds a run; continue it with {run_override(path)}")
        try:
            with recorded_outcome(folder) as outcome:
                remove_error(folder)
                write_text(folder.config, stored_config.to_yaml(config))
                outcome.is_recorded = True
                _run(config, folder, None, outcome, in_search=in_search)
        except (ConfigError, DataError) as error:
            if not folder.checkpoints.exist():
                # An error found on reading the data, before any training.
                folder.discard()
                error.folder = None
            raise
    return folder.path


def resume(path: Path, before: Config, config: Config, in_search: InSearch = InSearch()) -> None:
    """Continue the run in a folder from its newest checkpoint.

    If it is finished, log it to the services that do not have it yet, and print how to train longer.

    A run that has no checkpoint yet starts from its configuration. before: the configuration in the folder.
    config: the same with the user's overrides. A refusal leaves the folder as it was.
    """
    folder = RunFolder(path)
    with folder.locked():
        summary = folder.read_summary()
        state, messages = None, [f"folder    {folder.path}"]
        if folder.checkpoints.exist():
            state, warning = folder.checkpoints.load_last()
            check_configuration(before, state, path)
            progress = Progress(**state["progress"])
            check_no_part_of_an_epoch(path, progress, before, config)
            if _is_finished(summary, progress, config):
                _log_finished(folder, before, config)
                if config.trainer.keep == "model":
                    keep_model(folder)
                    return
                print_last(how_to_train_longer(path, progress, before, config, summary))
                return
            if progress.best_epoch:
                folder.checkpoints.load_best()  # damage is noticed before the training, not at its end
            messages += [f"warning   {warning}"] if warning else []
            messages.append(f"resuming  after step {progress.step}, epoch {progress.epoch}")
        elif summary is not None and is_reduced(summary):
            refuse_continuing(path, before, config)
            _log_finished(folder, before, config)
            print_last(how_it_is_kept(path, summary))
            return
        else:
            _check_never_trained(folder, summary)
            messages.append("starting  this run stopped before its first checkpoint")
            folder.checkpoints.make()
        print_labelled(messages)
        with recorded_outcome(folder) as outcome:
            _run(config, folder, state, outcome, before, in_search)


def _check_never_trained(folder: RunFolder, summary: dict[str, Any] | None) -> None:
    """Raise DataError where a run without checkpoints was trained, so that it cannot start from nothing."""
    if summary is not None and "head" in summary:
        raise DataError(
            f"{folder.path}: its head was computed in closed form, and is not trained further; start a new "
            f"run with initialization=from_run initialization.run={folder.path}"
        )
    if folder.has_trained():
        raise DataError(
            f"{folder.checkpoints.folder}: has no checkpoint, though this run was trained; restore the "
            "checkpoints, or train anew in another folder"
        )


def _log_finished(folder: RunFolder, before: Config, config: Config) -> None:
    """Log a finished run to the services that do not have it yet, with no other change of its settings."""
    if config.logger.sinks():
        write_text(folder.config, stored_config.to_yaml(replace(before, logger=config.logger)))
        RunLoggers().log_finished(config.logger, folder.path)


def _is_finished(summary: dict[str, Any] | None, progress: Progress, config: Config) -> bool:
    if summary is None or summary.get("status") != FINISHED:
        return False
    return progress.epoch >= config.trainer.epochs or progress.out_of_patience(
        config.trainer.early_stopping_epochs
    )


def _run(
    config: Config,
    folder: RunFolder,
    state: State | None,
    outcome: Outcome,
    before: Config | None = None,
    in_search: InSearch = InSearch(),
) -> None:
    """Train from a checkpoint's state, or from the start; before: the configuration so far of the run."""
    started = time.perf_counter()
    outcome.hooks = Hooks(config.trainer.hooks) if config.trainer.hooks else None
    outcome.processes.start(config)
    with StopSignals().caught() as signals:
        config, splits, compiles = _decided(config, in_search.splits, folder, state, started)
        assembled = assemble(config, folder, state, splits, compiles)
        outcome.is_recorded = True
        try:
            _begin(config, folder, assembled, state, before)
            pictures = draw_start(folder.path, config, assembled) if config.trainer.pictures else []
            trained = signals.received is None
            if trained:
                _start_listeners(config, folder, assembled.trainer, outcome)
                outcome.processes.begin(config, assembled, str(folder.path), in_search.stop_rule)
                pictures += _train(config, folder, assembled, signals, in_search.stop_rule)
        finally:
            assembled.trainer.recorder.close()
    if signals.received is not None:
        raise signals.received if trained else interrupted_by(signals.number, "stopped before training")
    _finish(config, folder, assembled, pictures)


def _decided(
    config: Config, splits: Splits | None, folder: RunFolder, state: State | None, started: float
) -> tuple[Config, Splits | None, bool]:
    """Return what the first updates of a new run decide, by their time, and print it.

    The configuration with the number of epochs, the splits if they were loaded for it, and whether the
    network is compiled if that is open. started: when the run began, by time.perf_counter.
    """
    compiles = False
    if state is not None:
        return config, splits, compiles
    if config.trainer.budget_minutes is not None:
        splits = splits or config.data.load(config.seed)
        config, line = within_budget(config, splits, folder.path, started)
        write_text(folder.config, stored_config.to_yaml(config))
        print_labelled([line])
    if config.trainer.compile == "auto":
        splits = splits or config.data.load(config.seed)
        compiles, line = choose_compile(config, splits, folder.path)
        print_labelled([line])
    return config, splits, compiles


def _begin(
    config: Config, folder: RunFolder, assembled: Assembled, state: State | None, before: Config | None
) -> None:
    """Write what is known of a run before its training, print its first lines, and check it if asked to."""
    folder.write_unreadable((assembled.parts.splits.unreadable or {}).values())
    if before is not None:
        write_text(folder.config, stored_config.to_yaml(config))
        remove_error(folder)
    print_labelled(_first_lines(assembled, folder, state, before, config))
    if (notice := memory_notice(assembled.parts)) is not None:
        print_labelled([f"notice    {notice}"])
    if config.trainer.check and state is None:
        from .check import check_parts

        check_parts(config, assembled.parts, folder, trained=False)


def _train(
    config: Config, folder: RunFolder, assembled: Assembled, signals: StopSignals, stop_rule: StopRule
) -> list[str]:
    """Run the training loop, and record how it ended; return the file names of the pictures drawn."""
    pictures: list[str] = []
    try:
        train_within_memory(config, folder, assembled, signals, stop_rule)
    except Stopped as stop:
        status = PAUSED if stop.may_go_on else STOPPED
        folder.write_summary(run_summary(config, assembled, status, {}))
        raise
    except Diverged:
        assembled.trainer.recorder.close()
        record_outcome(folder, DIVERGED, None)
        try:
            if config.trainer.report:
                _report(config, assembled, folder)
        except DataError as unwritable:
            print(f"warning   {unwritable}")
        raise
    finally:
        if config.trainer.pictures:
            pictures += draw_schedule(folder.path, config, assembled)
    return pictures


def _start_listeners(config: Config, folder: RunFolder, trainer: Trainer, outcome: Outcome) -> None:
    """Start the loggers and hooks of a run, which are told of each record."""
    outcome.loggers.start(config.logger, folder.path)
    trainer.recorder.listeners.append(outcome.loggers.check)
    if outcome.hooks is not None:
        outcome.hooks.start(folder.path, stored_config.to_tree(config), trainer.progress)
        trainer.recorder.listeners.append(outcome.hooks)


def _first_lines(
    assembled: Assembled, folder: RunFolder, state: State | None, before: Config | None, config: Config
) -> list[str]:
    messages = assembled.parts.messages
    if state is None and before is None:
        return [f"folder    {folder.path}", *messages]
    if state is not None and before is not None:
        return messages + notices_on_resuming(assembled, Progress(**state["progress"]), before, config)
    return messages


def _finish(config: Config, folder: RunFolder, assembled: Assembled, pictures: list[str]) -> None:
    """Evaluate the best network once on the test split, unless a sweep leaves that out; write the summary.

    pictures: file names of the pictures drawn so far.
    """
    trainer, step = assembled.trainer, assembled.trainer.step
    if config.trainer.test or config.trainer.pictures or config.trainer.report:
        load_weights(step.network, folder.checkpoints.load_best())
    progress, test = trainer.progress, dict[str, float | None]()
    if config.trainer.test:
        batches = evaluation_batches(assembled.parts.splits.test, assembled.parts.config, step.compute)
        started = time.perf_counter()
        test = evaluate_together(step, batches).row("test")
        progress.wall_seconds += time.perf_counter() - started
    work_alone(step)
    summary = run_summary(config, assembled, FINISHED, test)
    pictures += draw_end(folder.path, config, assembled) if config.trainer.pictures else []
    folder.write_summary(summary)
    print(summary_table(summary))
    if config.trainer.report:
        _report(config, assembled, folder)
    files = _files(config, folder, pictures)
    print(f"{folder.path}: {', '.join(files)}", flush=True)
    if config.trainer.keep == "model":
        keep_model(folder)
    print_result(f"{folder.path}: {summary_line(summary)}")


def _files(config: Config, folder: RunFolder, pictures: list[str]) -> list[str]:
    """Return the names of what a finished run leaves in its folder, for its last lines."""
    files = ["config.yaml", "metrics.jsonl", "summary.json", "checkpoints/", *pictures]
    files += [file_names.FINDINGS, file_names.REPORT] if config.trainer.report else []
    optional = (file_names.CHECK, file_names.UNREADABLE, file_names.TRACE)
    files += [name for name in optional if (folder.path / name).is_file()]
    files += [file_names.HISTOGRAMS] if config.trainer.instruments else []
    files += [f"{file_names.TENSORBOARD}/"] if "tensorboard" in config.logger.sinks() else []
    return files


def _report(config: Config, assembled: Assembled, folder: RunFolder) -> None:
    from .report import write_findings

    write_findings(config, assembled.parts, folder, config.report)
    print()
