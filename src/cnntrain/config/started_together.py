"""A command that torchrun has started in several processes: they decide trainer.processes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ..errors import ConfigError
from ..runs.file_names import CONFIG
from ..training.process_place import Place, restarts
from .command_line import CommandLine

PROCESSES = "trainer.processes"
# With a folder of its own, a command that is started again continues the run that it began.
RUN_FOLDER = "hydra.run.dir"


def as_started(command: CommandLine, here: Place | None) -> CommandLine:
    """Return the command of a training by so many processes, unchanged where there is one.

    Where torchrun starts the processes again, after one has failed, the command continues its run. Raises
    ConfigError for what several processes cannot do together.
    """
    if here is None:
        return command
    if "multirun" in command.flags:
        raise ConfigError(
            [
                f"-m: torchrun has started {here.size} processes, and a sweep starts those of its jobs "
                f"itself; start it without torchrun, with {PROCESSES}={here.size}"
            ]
        )
    if command.job not in (None, "train"):
        raise ConfigError(
            [f"job={command.job}: runs in one process; start it without torchrun, which started {here.size}"]
        )
    given = [text for text in command.overrides if text.startswith(f"{PROCESSES}=")]
    number = f"{PROCESSES}={here.size}"
    if given and given[-1] != number:
        raise ConfigError([f"{given[-1]}: torchrun has started {here.size} processes; leave it out"])
    folder = next(
        (text.partition("=")[2] for text in command.overrides if text.startswith(f"{RUN_FOLDER}=")), ""
    )
    if restarts() and folder and (Path(folder) / CONFIG).is_file():
        return replace(command, overrides=[number], run=Path(folder))
    others = [text for text in command.overrides if text not in given]
    return replace(command, overrides=[*others, number])
