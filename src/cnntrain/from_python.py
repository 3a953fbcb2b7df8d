"""cnntrain.train: a run that is started from Python, and what it returns."""

from __future__ import annotations

import json
import shlex
import signal
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .cli import check_working_folder, start, start_on_run
from .config.choice_files import Choices
from .config.command_line import CommandLine, parse
from .errors import ConfigError, DataError, Interrupted
from .machine_errors import machine_error
from .output_streams import tolerant_output
from .process_state import process_state_kept
from .runs import file_names
from .training.process_place import place

if TYPE_CHECKING:
    from .prediction.trained import TrainedNetwork


@dataclass(frozen=True)
class TrainingResult:
    """A run by the files in its folder, which are read anew at each access."""

    folder: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", Path(self.folder))

    @property
    def summary(self) -> dict[str, Any]:
        """The content of summary.json, such as {"status": "finished", "val/accuracy": 0.93, …}."""
        content: dict[str, Any] = json.loads(self._read(file_names.SUMMARY))
        return content

    @property
    def status(self) -> str:
        """How the run ended: "finished", "interrupted", "diverged" or "failed"."""
        return str(self.summary["status"])

    @property
    def best_epoch(self) -> int | None:
        """The epoch of the best network, counted from 1; None before the first has ended."""
        found = self.summary.get("best_epoch")
        return None if not found else int(found)

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """The rows of metrics.jsonl: of recorded steps, which have "lr", and of epochs."""
        return [json.loads(line) for line in self._read(file_names.METRICS).splitlines()]

    @property
    def epochs(self) -> list[dict[str, Any]]:
        """The rows of metrics.jsonl of the epochs that have ended, one each, with means over the epoch."""
        return [row for row in self.metrics if "lr" not in row]

    @property
    def findings(self) -> list[dict[str, Any]]:
        """The content of findings.json: name, sentence, evidence, strength and try.

        With trainer.report=false there are none.
        """
        if not (self.folder / file_names.FINDINGS).is_file():
            return []
        content: list[dict[str, Any]] = json.loads(self._read(file_names.FINDINGS))
        return content

    def load(self) -> TrainedNetwork:
        """Return the best network with its preprocessing and class names; raises DataError."""
        from .prediction.trained import load_trained

        return load_trained(self.folder)

    def _read(self, name: str) -> str:
        """Return the text of a file of the folder; raises DataError."""
        try:
            return (self.folder / name).read_text(encoding="utf-8")
        except OSError as error:
            raise DataError(f"{self.folder / name}: cannot be read ({error.strerror})") from error


def train_from_python(overrides: tuple[str, ...]) -> TrainingResult:
    """Train with these overrides, in a new folder or in that of run=FOLDER; see `cnntrain.train`."""
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError(
            "cnntrain.train: runs in the main thread only, as that receives signals, and other threads would "
            "draw from the same random generators; start a process for it, such as the command cnntrain"
        )
    if wrong := [value for value in overrides if not isinstance(value, str)]:
        raise TypeError(f"cnntrain.train: takes texts such as 'optim.lr=0.05', got {wrong[0]!r}")
    check_working_folder()
    try:
        with process_state_kept(), tolerant_output():
            folder = _train(_training_command(list(overrides)))
    except Interrupted as stopped:
        if stopped.exit_code or stopped.folder is None:
            raise _passed_on(stopped) from stopped
        folder = stopped.folder  # after trainer.max_minutes
    except Exception as error:
        in_words = machine_error(error)
        if in_words is None or in_words is error:
            raise
        raise in_words from error
    return TrainingResult(folder)


def _training_command(overrides: list[str]) -> CommandLine:
    """Return the parsed overrides; raises ConfigError unless they are those of one training."""
    if (here := place()) is not None:
        raise ConfigError(
            [f"cnntrain.train: runs in one process, and torchrun has started {here.size}; start -m cnntrain"]
        )
    command = parse(overrides)
    if command.flags or set(command.values) - {"config_dir"}:
        flags = " ".join(text for text in overrides if text.startswith("-"))
        raise ConfigError([f"{flags}: is for the command line; cnntrain.train starts one run"])
    if command.job not in (None, "train"):
        line = shlex.join(["cnntrain", *overrides])
        raise ConfigError([f"job={command.job}: cnntrain.train trains; run this job as a command: {line}"])
    return command


def _train(command: CommandLine) -> Path:
    choices = Choices(command.user_folder)
    if command.run is not None:
        start_on_run(command.run, command, choices)
        return command.run
    folder = start(command, choices)
    assert folder is not None
    return folder


def _passed_on(stopped: Interrupted) -> KeyboardInterrupt:
    """Let the process handle a signal after which a run was saved; return what is raised if it goes on."""
    number = stopped.exit_code - 128
    if number != signal.SIGINT:
        signal.raise_signal(number)
    continued = "" if stopped.folder is None else f"; continue with cnntrain.train('run={stopped.folder}')"
    return KeyboardInterrupt(f"{stopped}{continued}")
